# Sourced by the scripts around it: sets `python` to a Python that has fairseq.
#
# $PYTHON wins. Then comes the Python of the environment in which these files are installed, then those on the PATH. A
# checkout that is not installed is put on the PYTHONPATH.

folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

candidates=()
if [ -n "${PYTHON:-}" ]; then
    candidates=("$PYTHON")
else
    case "$folder" in
        *-packages/fairseq/examples)
            # PREFIX/lib/python3.X/site-packages, or PREFIX/Lib/site-packages on Windows
            library=$(dirname "${folder%/fairseq/examples}")
            version=$(basename "$library")
            for prefix in "$(dirname "$(dirname "$library")")" "$(dirname "$library")"; do
                candidates+=("$prefix/bin/$version" "$prefix/bin/python3" "$prefix/Scripts/python.exe" "$prefix/python.exe")
            done
            case "$version" in python3*) candidates+=("$version") ;; esac
            ;;
    esac
    candidates+=(python3 python)
fi

choose_python() {
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import fairseq_cli.recipes' >/dev/null 2>&1; then
            python=$candidate
            return
        fi
    done
}

python=
choose_python
if [ -z "$python" ]; then
    # fairseq/examples and examples are at different depths of a checkout.
    for root in "$folder/.." "$folder/../.."; do
        if [ -z "$python" ] && [ -f "$root/fairseq_cli/recipes/__init__.py" ]; then
            export PYTHONPATH="$(cd "$root" && pwd)${PYTHONPATH:+:$PYTHONPATH}"
            choose_python
        fi
    done
fi
if [ -z "$python" ]; then
    echo "no Python with fairseq was found; name one: PYTHON=/path/to/python bash $0" >&2
    exit 1
fi
