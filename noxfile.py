"""Jobs of this repository. ``nox -l`` lists them; each says below what it does.

    nox -s tutorial      the main job: data, training, translation, BLEU
    nox -s tests         the tests
    nox -s lint typecheck
    nox -s "matrix(python='3.12', torch='2.6')"

Which PyTorch is installed can be narrowed from outside, as for every pip or uv run (``PIP_CONSTRAINT``,
``UV_CONSTRAINT``).
"""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests"]
nox.options.error_on_missing_interpreters = False

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
TORCHES = ["2.4", "2.6", "newest"]
# Pairs that have no wheel: PyTorch supports Python 3.13 from 2.5 on.
WITHOUT_WHEEL = {("3.13", "2.4")}
ROOT = Path(__file__).parent


def group(name: str) -> list[str]:
    """The requirements of one dependency group of pyproject.toml."""
    return list(nox.project.dependency_groups(PROJECT, name))


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite on the Python that nox runs on. Arguments go to pytest."""
    session.install("-e", ".", *group("test"))
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def tutorial(session: nox.Session) -> None:
    """Run the main job: prepare the numbers corpus, train the tutorial LSTM, translate unseen sentences, score them."""
    session.install("-e", ".[tutorial]")
    session.run("python", "scripts/run_tutorial.py", *session.posargs)


@nox.session
@nox.parametrize("torch", TORCHES)
@nox.parametrize("python", PYTHONS)
def matrix(session: nox.Session, torch: str) -> None:
    """Run the test suite for one Python and one PyTorch."""
    if (str(session.python), torch) in WITHOUT_WHEEL:
        session.skip(f"PyTorch {torch} has no wheel for Python {session.python}")
    wanted = [] if torch == "newest" else [f"torch=={torch}.*"]
    # The oldest PyTorch is tested with the oldest NumPy.
    wanted += ["numpy==1.26.*"] if torch == TORCHES[0] else []
    session.install("-e", ".", *wanted, *group("test"))
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def uncompiled(session: nox.Session) -> None:
    """Run the data tests on an installation without compiled modules."""
    session.install(".", *group("test"), env={"FAIRSEQ_NO_EXTENSIONS": "1"})
    session.run("python", "-m", "pytest", "tests/unit", *session.posargs, env={"FAIRSEQ_NO_EXTENSIONS": "1"})


@nox.session(python=["3.12", "3.13"])
def trees(session: nox.Session) -> None:
    """Patch the releases 0.9.0, 0.10.2 and 0.12.2 and train with them. Downloads and compiles: run it by name."""
    session.install("torch>=2.6", "numpy", "cython", "setuptools", "wheel", "scikit-learn", "libcst>=1.5")
    session.install("omegaconf", "hydra-core>=1.3,<1.4", "sacrebleu", "bitarray", "regex", "tqdm", "cffi")
    session.run("python", "scripts/patch_real_trees.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and layout."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Check types."""
    session.install("-e", ".", *group("lint"))
    session.run("mypy", *session.posargs)


@nox.session
def index(session: nox.Session) -> None:
    """Write fairseq/_index.py anew."""
    session.install("-e", ".")
    session.run("python", "scripts/make_index.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure against another fairseq: ``nox -s bench -- --peer /path/to/python [--peer-path SRC]``."""
    session.install("-e", ".[tutorial]")
    session.run(
        "python",
        "benchmarks/spine.py",
        *session.posargs,
        env={"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
    )
