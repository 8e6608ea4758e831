"""Requirement strings that current packages cannot meet."""

from __future__ import annotations

from .model import version_tuple

__all__ = ["MODERN", "mend"]

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
