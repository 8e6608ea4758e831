#!/usr/bin/env bash
# The script of this name that recipes call; docs/recipes.md tells what does its job.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../examples/find_python.sh"
exec "$python" -m fairseq_cli.recipes sacrebleu "$@"
