"""Requirement strings that current packages cannot meet."""

from __future__ import annotations

import re

from .model import version_tuple

__all__ = ["BELOW", "MODERN", "MODULES", "mend", "old_pins"]

# First release of each package that runs on current Python; what a refused pin is replaced by.
MODERN = {
    "omegaconf": "2.3",
    "hydra-core": "1.3",
    "numpy": "1.26",
    "torch": "2.6",
    "torchaudio": "2.6",
    "torchvision": "0.21",
    "sacrebleu": "2.0",
    "pyyaml": "6.0",
    "scikit-learn": "1.3",
    "scipy": "1.11",
    "bitarray": "2.9",
    "regex": "2023.12",
    "cython": "3.0",
    "editdistance": "0.8",
    "setuptools": "61",
}
# Hydra 1.4 drops the behaviour of 1.1 that fairseq composes its configurations with.
BELOW = {"hydra-core": "1.4"}
# Imported name -> package, where a tree should be told which version to install.
MODULES = {
    "torch": "torch", "numpy": "numpy", "omegaconf": "omegaconf", "hydra": "hydra-core", "sacrebleu": "sacrebleu",
    "torchaudio": "torchaudio", "torchvision": "torchvision", "yaml": "pyyaml", "sklearn": "scikit-learn",
    "scipy": "scipy", "bitarray": "bitarray", "regex": "regex", "editdistance": "editdistance",
}  # fmt: skip
OPERATORS = ("===", "==", "~=", "<=", ">=", "!=", "<", ">")


def mend(text: str) -> str | None:
    """``omegaconf<2.1`` -> ``omegaconf>=2.3``; None when the requirement is fine, or is not understood.

    A requirement for old Pythons only (``; python_version<"3.7"``) is fine.
    """
    spec, semicolon, marker = text.partition(";")
    if "<" in marker:
        return None
    name = spec.strip()
    clauses = ""
    for index, letter in enumerate(name):
        if letter in "<>=!~[( ":
            name, clauses = name[:index], name[index:].strip()
            break
    if name.lower() == "sklearn" and not clauses:
        return text.replace(name, "scikit-learn")
    if name.lower() == "dataclasses" and not semicolon:
        return f'{text.rstrip()}; python_version<"3.7"'
    first = MODERN.get(name.lower().replace("_", "-"))
    if first is None or not clauses or clauses[0] in "[":
        return None
    parts = [part.strip() for part in clauses.strip("()").split(",")]
    if not all(part.startswith(OPERATORS) for part in parts) or all(
        _allows(part, version_tuple(first)) for part in parts
    ):
        return None
    lead = text[: len(text) - len(text.lstrip())]
    bound = BELOW.get(name.lower().replace("_", "-"))
    ceiling = f",<{bound}" if bound else ""
    return f"{lead}{name}>={first}{ceiling}" + (f"; {marker.strip()}" if semicolon else "")


def _allows(clause: str, first: tuple[int, ...]) -> bool:
    """Whether some release from ``first`` on satisfies one clause."""
    operator = next(sign for sign in OPERATORS if clause.startswith(sign))
    text = clause[len(operator) :].strip()
    version = version_tuple(text)
    if operator in (">", ">=", "!="):
        return True
    if operator == "<":
        return version > first
    if operator == "<=" or operator == "===":
        return version >= first
    if operator == "==":
        return version >= first[: len(version)]
    return version[:-1] >= first[: len(version) - 1]


# pip's "torch==1.4", conda's "pytorch=1.4=py3.7_cuda", Pipfile's 'torch = "==1.4"'.
PIN = re.compile(
    r"""(?<![\w.=/-])(?P<name>[A-Za-z][\w.-]*)(?:\[[^\]]*\])?\s*(?:=\s*["'](?P<pipfile>[=<>~!]{0,2}\d[^"']*)["']|"""
    r"""(?P<sign>[<>=~!]=?=?)(?P<version>\d[\w.*]*)(?P<more>(?:,[<>=~!]=?\d[\w.*]*)*))"""
)
CONDA = {"pytorch": "torch"}


def old_pins(line: str) -> list[tuple[str, str]]:
    """``(requirement as written, what to ask for instead)`` of each pin in a line that installs no more."""
    found = []
    for match in PIN.finditer(line):
        name = match["name"].rstrip(".-")
        package = CONDA.get(name.lower(), name)
        sign = match["sign"] or ""
        clauses = match["pipfile"] or f"{'==' if sign == '=' else sign}{match['version']}{match['more']}"
        if name.lower() == "python" or name == "python_version":
            version = version_tuple(clauses.lstrip("<>=~!"))
            if (clauses[:1] in "=<~" or clauses[:1].isdigit()) and (2,) <= version < (3, 10):
                found.append((match[0], "python>=3.10"))
            continue
        new = mend(package + clauses)
        if new is not None and new != package + clauses:
            found.append((match[0], new))
    return found
