"""What to do once a tree is patched."""

from __future__ import annotations

import posixpath
from typing import Sequence

from .requirement import BELOW, MODERN, MODULES
from .runner import Report
from .tree import FOREIGN

__all__ = ["next_steps"]


def next_steps(report: Report) -> list[str]:
    """Lines for the end of ``apply``: versions to install, how to build, how to check."""
    files = report.files
    compiled = sorted(path for path in files if path.endswith(".pyx"))
    names = [MODULES[name] for name in report.imported]
    names = [name for name in ("torch", "numpy") if name not in names] + names
    names += ["cython", "setuptools"] if compiled else []
    lines = ["", "Next:", "  pip install " + " ".join(f'"{_requirement(name)}"' for name in names)]
    setup = [path for path in ("setup.py", "pyproject.toml") if path in files]
    packages = [package for package in report.packages if package.folder]
    if setup and compiled:
        lines.append(
            f"  pip install --no-build-isolation --no-deps -e {report.root}    "
            f"(compiles {len(compiled)} Cython modules and what C++ is there; needs a C++ compiler)"
        )
        lines.append(
            "  Without a compiler: loading data needs the Cython modules (libnat, libbleu and CUDA extensions are for "
            "a few\n  models and scores only), so use the maintained fairseq, which compiles nothing, with your code "
            "as --user-dir."
        )
    elif setup:
        lines.append(f"  pip install --no-build-isolation --no-deps -e {report.root}    (nothing is compiled)")
    elif packages and report.root.name not in FOREIGN:
        folder = posixpath.dirname(packages[0].folder)
        lines.append(f"  No build is needed: put {report.root / folder} on PYTHONPATH.")
    else:
        lines.append("  No build is needed.")
    lines += _checks(report)
    return lines


def _checks(report: Report) -> Sequence[str]:
    imports = ", ".join(sorted({package.name for package in report.packages if package.name.isidentifier()}))
    check = f'  python -c "import {imports}" && ' if imports else "  "
    return [f"{check}fairseq-patch check {report.root}"]


def _requirement(name: str) -> str:
    ceiling = f",<{BELOW[name]}" if name in BELOW else ""
    return f"{name}>={MODERN[name]}{ceiling}"
