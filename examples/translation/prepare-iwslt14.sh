#!/usr/bin/env bash
# Prepares the IWSLT'14 German-English talks in iwslt14.tokenized.de-en/, ready for fairseq-train.
#
#     cd data-bin && bash .../fairseq/examples/translation/prepare-iwslt14.sh
#
# The options: bash prepare-iwslt14.sh --help
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../find_python.sh"
exec "$python" -m fairseq_cli.recipes prepare-iwslt14 "$@"
