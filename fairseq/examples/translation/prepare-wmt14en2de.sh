#!/usr/bin/env bash
# Prepares the English-German WMT text in wmt17_en_de/ (--icml17: wmt14_en_de/), ready for fairseq-preprocess.
#
#     bash .../fairseq/examples/translation/prepare-wmt14en2de.sh [--icml17]
#
# The options: bash prepare-wmt14en2de.sh --help
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../find_python.sh"
exec "$python" -m fairseq_cli.recipes prepare-wmt14en2de "$@"
