"""Version pins that current pip, Python or PyTorch refuse."""

from __future__ import annotations

import fnmatch
import posixpath
from typing import Any

from .._cst import cst
from ..edit import literal
from ..model import Example, Patch, Rule
from ..requirement import mend, old_pins

# Files in which old pins are named, not changed: a command or an environment is for its owner to write.
NAMED = ("environment*.yml", "environment*.yaml", "Pipfile", "*.ipynb", "*.sh", "*.md", "README*", "Dockerfile*")
INSTALLING = ("pip install", "pip3 install", "conda install", "mamba install", "uv add", "poetry add")


class SetupPins(Rule):
    """Requirement strings in setup.py, requirements files, setup.cfg and pyproject.toml."""

    patch = Patch(
        id="setup-pins",
        title="Pins of omegaconf<2.1, hydra-core<1.1 and other releases that do not install any more",
        symptom="omegaconf ... has invalid metadata: .* suffix can only be used with `==` or `!=` operators "
        "PyYAML (>=5.1.*)",
        cause="The metadata of omegaconf 2.0 is invalid for pip 24.1 and later, and Hydra 1.0 fails on Python "
        "3.11; numpy, "
        "torch and others have no such old releases for current Python.",
        since={"pip": "24.1"},
        fairseq="0.10 to main",
        change="A pin that excludes every release that runs today becomes a lower bound (omegaconf>=2.3, "
        "hydra-core>=1.3). Pins in environment.yml, Pipfile, notebooks, shell scripts, Dockerfiles and install "
        "lines of READMEs are named, and left to you.",
        matches=[
            ("suffix can only be used with", "operators"),
            ("has invalid metadata",),
            ("cannot install", "fairseq", "conflicting dependencies"),
            ("resolutionimpossible",),
            ("requested omegaconf<2.1",),
            ("requires omegaconf<2.1",),
            ("fairseq", "requires", "which is incompatible"),
            ("mutable default <class 'hydra.",),
            ("mutable default <class 'hydra.conf", "is not allowed"),
            ("the 'sklearn' pypi package is deprecated",),
        ],
        tokens=[b"omegaconf", b"hydra", b"numpy", b"torch", b"sacrebleu", b"dataclasses", b"sklearn", b"yaml", b"YAML"],
        files=["setup.py", "requirements*.txt", "setup.cfg", "pyproject.toml", *NAMED],
        before="""\
from setuptools import setup

setup(
    install_requires=[
        "hydra-core>=1.0.7,<1.1",
        "omegaconf<2.1",  # see below
        'numpy<1.20.0; python_version<"3.7"',
        "torch",
    ],
)
""",
        after="""\
from setuptools import setup

setup(
    install_requires=[
        "hydra-core>=1.3,<1.4",
        "omegaconf>=2.3",  # see below
        'numpy<1.20.0; python_version<"3.7"',
        "torch",
    ],
)
""",
        more=[Example('x = ["torch==1.13.1", "sacrebleu>=1.4.12"]\n', 'x = ["torch>=2.6", "sacrebleu>=1.4.12"]\n')],
        untouched=['x = ["omegaconf", "hydra-core>=1.3", "regex", "torch>=1.8"]\ny = "omegaconf<2.1"\n'],
    )

    def leave_Element(self, original: Any, updated: Any) -> Any:
        text = literal(original.value)
        new = mend(text) if text is not None and isinstance(original.value, cst.SimpleString) else None
        if new is None or text is None:
            return updated
        self.hit(original, f"{text!r} becomes {new!r}")
        quote = "'" if '"' in new else original.value.quote
        return updated.with_changes(value=updated.value.with_changes(value=f"{quote}{new}{quote}"))

    def rewrite_text(self, text: str) -> str:
        name = posixpath.basename(self.ctx.path)
        if any(fnmatch.fnmatch(name, pattern) for pattern in NAMED):
            self._name_pins(name, text)
            return text
        quoted = self.ctx.path.endswith(".toml")
        lines = text.splitlines(keepends=True)
        for number, line in enumerate(lines):
            new = _quoted(line) if quoted else _plain(line)
            if new != line:
                self.ctx.record(self.patch.id, number + 1, f"{line.strip()} becomes {new.strip()}")
                lines[number] = new
        return "".join(lines)

    def _name_pins(self, name: str, text: str) -> None:
        listing = name == "Pipfile" or name.startswith("environment")
        for number, line in enumerate(text.split("\n"), 1):
            if not listing and not any(command in line for command in INSTALLING):
                continue
            for old, new in old_pins(line.partition("#")[0] if listing else line):
                message = f"{old} is not changed here: ask for {new}"
                self.ctx.record(self.patch.id, number, message, by_hand=True)


def _plain(line: str) -> str:
    body = line.rstrip("\r\n")
    text, hash_sign, comment = body.partition("#")
    requirement = text.rstrip()
    new = mend(requirement)
    if new is None:
        return line
    return new + text[len(requirement) :] + hash_sign + comment + line[len(body) :]


def _quoted(line: str) -> str:
    for quote in "\"'":
        parts = line.split(quote)
        for index in range(1, len(parts) - 1, 2):
            new = mend(parts[index])
            if new is not None and quote not in new:
                parts[index] = new
        line = quote.join(parts)
    return line


RULE = SetupPins
