"""What pyproject.toml cannot say of the build: optional Cython modules, and two packages with short folders."""

from __future__ import annotations

import os
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).parent
SHORT_FOLDERS = {"fairseq_patches": "patches", "fairseq_plugins": "plugins"}


class OptionalBuildExt(build_ext):
    """Builds what can be built. Without a compiler the package installs all the same: NumPy twins take over."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            self.warn(f"no compiled modules ({type(error).__name__}: {error}); the NumPy versions will be used")


def extensions() -> list[Extension]:
    """One extension per ``.pyx`` file below fairseq; none with FAIRSEQ_NO_EXTENSIONS=1 or without Cython."""
    if os.environ.get("FAIRSEQ_NO_EXTENSIONS", "0") not in ("", "0"):
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    found = []
    for path in sorted((HERE / "fairseq").rglob("*.pyx")):
        source = path.relative_to(HERE)
        name = ".".join(source.with_suffix("").parts)
        found.append(Extension(name, [str(source)], optional=True))
    try:
        return cythonize(found, build_dir="build/cython", compiler_directives={"language_level": 3}, quiet=True)
    except Exception as error:  # a Cython that cannot translate must not stop the installation
        print(f"no compiled modules ({type(error).__name__}: {error}); the NumPy versions will be used")
        return []


def packages() -> tuple[list[str], dict[str, str]]:
    """All packages, and where those live whose folder has another name."""
    names = find_packages(str(HERE), include=["fairseq", "fairseq.*", "fairseq_cli", "fairseq_cli.*"])
    folders = {}
    for package, folder in SHORT_FOLDERS.items():
        if not (HERE / folder).is_dir():
            continue
        names.append(package)
        folders[package] = folder
        for inner in find_packages(str(HERE / folder)):
            names.append(f"{package}.{inner}")
            folders[f"{package}.{inner}"] = f"{folder}/{inner.replace('.', '/')}"
    return names, folders


NAMES, FOLDERS = packages()

setup(
    packages=NAMES,
    # Names of upstream's compiled extensions that programs import.
    py_modules=["alignment_train_cpu_binding", "alignment_train_cuda_binding"],
    package_dir=FOLDERS,
    ext_modules=extensions(),
    cmdclass={"build_ext": OptionalBuildExt},
)
