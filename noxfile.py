"""Jobs of this repository. ``nox -l`` lists them; each says below what it does.

    nox -s tutorial      the main job: data, training, translation, BLEU
    nox -s tests         the tests
    nox -s lint typecheck docs
    nox -s "matrix(python='3.12', torch='2.6', numpy='2')"

Environments are made with uv where it is installed, with pip elsewhere. Versions stand in pyproject.toml. Which
PyTorch is installed can be narrowed from outside, as for every pip or uv run (``PIP_CONSTRAINT``, ``UV_CONSTRAINT``).
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
# The classifiers name what was shown to work.
PYTHONS = nox.project.python_versions(PROJECT)
TORCHES = ["2.4", "2.6", "newest"]
NUMPYS = ["1.26", "2"]
# What no combination of wheels can serve: the first Python that a release of PyTorch lacks, the last that NumPy has.
TORCH_BEFORE = {"2.4": "3.13", "2.6": "3.14"}
NUMPY_BEFORE = {"1.26": "3.13"}
ROOT = Path(__file__).parent
ONE_THREAD = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}


def group(name: str) -> list[str]:
    """The requirements of one dependency group of pyproject.toml."""
    return list(nox.project.dependency_groups(PROJECT, name))


def minor(version: str) -> int:
    """11 of "3.11"."""
    return int(version.split(".")[1])


def install_and_tell(session: nox.Session, *what: str, then: str) -> None:
    """Install with the installer's own progress on the screen, after a line on what is done and how long it takes.

    Args:
        session: the job.
        what: requirements.
        then: what comes after the installation, with its minutes.
    """
    session.log("Step 1 of 2: installing fairseq, PyTorch (up to 3 GB with CUDA) and what else is needed.")
    session.log("That takes 2 to 10 minutes the first time, by the network; later it takes seconds.")
    session.install(*what, silent=False)
    session.log("Step 2 of 2: %s", then)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite on the Python that nox runs on. Arguments go to pytest."""
    then = "the test suite, 6 to 30 minutes on two cores; pytest prints a dot for each test."
    install_and_tell(session, "-e", ".", *group("test"), then=then)
    # In several processes; the tests share no file and no port.
    session.run("python", "-m", "pytest", *(session.posargs or ["-n", "auto", "--maxprocesses", "8"]))


@nox.session
def contract(session: nox.Session) -> None:
    """Run the tests of what must not move: names, options, layers, recorded numbers."""
    session.install("-e", ".", *group("test"))
    session.run("python", "-m", "pytest", "tests/contract", *session.posargs)
    session.run("python", "scripts/make_index.py", "--check")


@nox.session
def tutorial(session: nox.Session) -> None:
    """Run the main job: prepare the numbers corpus, train the tutorial LSTM, translate unseen sentences, score them."""
    then = "data, training, translation and BLEU, about 5 minutes on two cores; every command is printed."
    install_and_tell(session, "-e", ".[tutorial]", then=then)
    session.run("python", "scripts/run_tutorial.py", *session.posargs)


@nox.session
@nox.parametrize("numpy", NUMPYS)
@nox.parametrize("torch", TORCHES)
@nox.parametrize("python", PYTHONS)
def matrix(session: nox.Session, torch: str, numpy: str) -> None:
    """Run the test suite for one Python, PyTorch and NumPy; results go to .nox/matrix, for scripts/matrix.py."""
    python = str(session.python)
    for package, version, before in (("PyTorch", torch, TORCH_BEFORE), ("NumPy", numpy, NUMPY_BEFORE)):
        if version in before and minor(python) >= minor(before[version]):
            session.skip(f"{package} {version} has no wheel for Python {python}")
    wanted = [] if torch == "newest" else [f"torch=={torch}.*"]
    session.install("-e", ".", *wanted, f"numpy=={numpy}.*", *group("test"))
    session.run("python", "scripts/matrix.py", "run", "--out", str(ROOT / ".nox" / "matrix"), "--", *session.posargs)


@nox.session
def uncompiled(session: nox.Session) -> None:
    """Run the unit tests on an installation without compiled modules."""
    session.install(".", *group("test"), env={"FAIRSEQ_NO_EXTENSIONS": "1"})
    session.run("python", "-m", "pytest", "tests/unit", *session.posargs, env={"FAIRSEQ_NO_EXTENSIONS": "1"})


@nox.session
def wheel(session: nox.Session) -> None:
    """Build both distributions, install the wheel into an empty environment, use it from outside the checkout."""
    session.install(*group("build"))
    work = Path(session.create_tmp()).resolve()
    for old in work.glob("dist/*"):
        old.unlink()
    session.run("python", "-m", "build", "--outdir", str(work / "dist"), str(ROOT))
    (built,) = (work / "dist").glob("*.whl")
    session.run("python", "-m", "venv", "--clear", str(work / "empty"))
    python = str(work / "empty" / ("Scripts" if os.name == "nt" else "bin") / "python")
    session.run(python, "-m", "pip", "install", "--quiet", f"{built}[tutorial,patches]", external=True)
    with session.chdir(work):
        script = str(ROOT / "scripts" / "smoke_installed.py")
        session.run(python, script, "--outside", str(ROOT), *session.posargs, external=True)


@nox.session
def patches(session: nox.Session) -> None:
    """Run the tests of the repair tool; they compare docs/patches.md with its cards too."""
    session.install("-e", ".", *group("test"))
    session.run("python", "-m", "pytest", "tests/patches", *session.posargs)


@nox.session(python=["3.12", "3.13"])
def trees(session: nox.Session) -> None:
    """Patch the releases 0.9.0, 0.10.2 and 0.12.2 and train with them. Downloads and compiles: run it by name."""
    session.install("torch>=2.6", "numpy", "cython", "setuptools", "wheel", "scikit-learn", "libcst>=1.5")
    session.install("omegaconf", "hydra-core>=1.3,<1.4", "sacrebleu", "bitarray", "regex", "tqdm", "cffi")
    session.run("python", "scripts/patch_real_trees.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, layout, and the subjects of new commits."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("python", "scripts/check_subjects.py", *session.posargs)


@nox.session
def typecheck(session: nox.Session) -> None:
    """Check types."""
    session.install("-e", ".", *group("lint"))
    session.run("mypy", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error. The result is docs/_build/index.html."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build", *session.posargs)


@nox.session
def index(session: nox.Session) -> None:
    """Write fairseq/_index.py anew."""
    session.install("-e", ".")
    session.run("python", "scripts/make_index.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure against another fairseq: ``nox -s bench -- --peer /path/to/python [--peer-path SRC] --report FOLDER``."""
    session.install("-e", ".[tutorial]", *group("bench"))
    session.run("python", "-m", "benchmarks", *session.posargs, env=ONE_THREAD)
