#!/usr/bin/env bash
# Fetches and unpacks the WikiText-103 text into wikitext-103/, ready for fairseq-preprocess.
#
#     bash .../fairseq/examples/language_model/prepare-wikitext-103.sh
#
# The options: bash prepare-wikitext-103.sh --help
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../find_python.sh"
exec "$python" -m fairseq_cli.recipes prepare-wikitext-103 "$@"
