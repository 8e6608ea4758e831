"""How Sphinx builds the documentation: ``nox -s docs``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent / "_ext"), str(Path(__file__).parent.parent)]

from fairseq import __version__ as release  # noqa: E402

project = "fairseq"
author = "The fairseq developers"
version = ".".join(release.split(".")[:2])
extensions = ["myst_parser", "reference"]
exclude_patterns = ["_build", "_ext"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"fairseq {release}"
# The generated pages show signatures whose defaults no highlighter understands.
suppress_warnings = ["misc.highlighting_failure"]
