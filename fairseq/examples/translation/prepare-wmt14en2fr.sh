#!/usr/bin/env bash
# Prepares the English-French WMT'14 text in wmt14_en_fr/, ready for fairseq-preprocess.
#
#     bash .../fairseq/examples/translation/prepare-wmt14en2fr.sh
#
# The options: bash prepare-wmt14en2fr.sh --help
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../find_python.sh"
exec "$python" -m fairseq_cli.recipes prepare-wmt14en2fr "$@"
