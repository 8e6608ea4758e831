"""Cython sources with numpy's old aliases."""

from __future__ import annotations

from ..model import Patch, Rule
from .numpy_aliases import ALIASES

PYTHON_NAMES = {"long": "int", "unicode": "str"}


class CythonNames(Rule):
    """``np.int`` in .pyx files."""

    patch = Patch(
        id="cython-numpy-names",
        title="numpy's old aliases in Cython sources",
        symptom="AttributeError: module 'numpy' has no attribute 'int' (raised in a .pyx file)",
        cause="As in Python files: numpy 1.24 removed its aliases of Python's types.",
        since={"numpy": "1.24"},
        fairseq="forks",
        change="np.int becomes int, np.float float, and so on; types of cimported numpy (np.int_t, np.int64_t) stay.",
        matches=[(".pyx", "module 'numpy' has no attribute"), ("module 'numpy' has no attribute", ".pyx")],
        tokens=[b"np."],
        files=["*.pyx"],
        before="import numpy as np\nDTYPE = np.int  # np.int here\nctypedef np.int_t T\nx = 'np.int'\n",
        after="import numpy as np\nDTYPE = int  # np.int here\nctypedef np.int_t T\nx = 'np.int'\n",
        untouched=["import numpy as np\ncimport numpy as np\nctypedef np.int64_t T\nx = np.int64(snp.int)\n"],
    )

    def rewrite_text(self, text: str) -> str:
        if "import numpy as np" not in text:
            return text
        lines = text.splitlines(keepends=True)
        inside = ""
        for number, line in enumerate(lines):
            new, inside = _line(line, inside)
            if new != line:
                self.ctx.record(self.patch.id, number + 1, f"{line.strip()} becomes {new.strip()}")
                lines[number] = new
        return "".join(lines)


def _line(line: str, inside: str) -> tuple[str, str]:
    """One line without the aliases; ``inside`` is the quote of a string that goes on from line to line."""
    parts: list[str] = []
    index = 0
    while index < len(line):
        if inside:
            end = line.find(inside, index)
            if end < 0:
                return "".join(parts) + line[index:], inside if len(inside) == 3 else ""
            parts.append(line[index : end + len(inside)])
            index, inside = end + len(inside), ""
        elif line[index] == "#":
            return "".join(parts) + line[index:], ""
        elif line[index] in "'\"":
            inside = line[index] * 3 if line[index : index + 3] == line[index] * 3 else line[index]
            parts.append(inside)
            index += len(inside)
        else:
            word, index = _word(line, index)
            parts.append(word)
    return "".join(parts), inside


def _word(line: str, index: int) -> tuple[str, int]:
    """The dotted name (with an alias replaced) or the single character at ``index``."""
    end = index
    while end < len(line) and (line[end].isalnum() or line[end] in "_."):
        end += 1
    if end == index:
        return line[index], index + 1
    word = line[index:end]
    if word.startswith("np.") and word[3:] in ALIASES:
        return PYTHON_NAMES.get(word[3:], word[3:]), end
    return word, end


RULE = CythonNames
