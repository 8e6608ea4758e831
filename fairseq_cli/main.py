"""The command ``fairseq VERB``, also ``python -m fairseq VERB``.

``fairseq train ...`` is ``fairseq-train ...``, and so on for every row of ``fairseq_cli.verbs``. Only the module of the
chosen verb is imported.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from fairseq_cli.verbs import VERBS

__all__ = ["find", "main", "usage"]

# Two packages are installed under longer names than their folders in the repository have.
INSTALLED_NAMES = {"plugins": "fairseq_plugins", "patches": "fairseq_patches"}
SHELLS = ("bash", "zsh", "fish")


def usage() -> str:
    """What ``fairseq --help`` prints."""
    width = max(map(len, VERBS))
    lines = ["usage: fairseq VERB [options]", "", "verbs:"]
    lines += [f"  {name:{width}}  {verb.help}" for name, verb in VERBS.items()]
    lines += [
        "",
        "options:",
        "  --help                            this list; fairseq VERB --help has the options of one verb",
        "  --version                         versions of fairseq, Python and PyTorch",
        f"  --print-completion {'|'.join(SHELLS)}  a completion script for this shell, to be sourced",
    ]
    return "\n".join(lines)


def find(target: str) -> Callable[..., Any]:
    """Import the function that a row of the table names as ``"module:function"``."""
    module, _, function = target.partition(":")
    top, dot, rest = module.partition(".")
    installed = INSTALLED_NAMES.get(top)
    if installed is not None and find_spec(installed) is not None:
        module = installed + dot + rest
    return getattr(importlib.import_module(module), function)


def _version() -> str:
    # The metadata of an installed PyTorch says its version; importing it to ask takes a second or more.
    from importlib.metadata import PackageNotFoundError, version

    from fairseq.version import __version__

    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "not installed"
    return f"fairseq {__version__} (Python {sys.version.split()[0]}, PyTorch {torch})"


def _refuse(message: str) -> int:
    sys.stderr.write(f"usage: fairseq VERB [options]  (all of them: fairseq --help)\nfairseq: error: {message}\n")
    return 2


def _print_completion(words: Sequence[str]) -> int:
    if len(words) != 1 or words[0] not in SHELLS:
        return _refuse(f"--print-completion needs one of: {', '.join(SHELLS)}")
    from fairseq_cli.completion import script

    print(script(words[0]))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: the words after ``fairseq``; ``sys.argv[1:]`` if not given.

    Returns:
        The exit code, for what this function does itself. A verb ends the process with its own.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        sys.stderr.write(usage() + "\n")
        return 2
    first, *rest = words
    if first in ("-h", "--help", "help") and (not rest or first != "help"):
        print(usage())
        return 0
    if first == "help":
        first, rest = rest[0], ["--help"]
    if first in ("-V", "--version"):
        print(_version())
        return 0
    if first == "--print-completion":
        return _print_completion(rest)
    name = first.replace("_", "-").removeprefix("fairseq-")
    if name not in VERBS:
        from fairseq.compat.suggest import near

        close = near(name, VERBS)
        kind = "option" if first.startswith("-") else "verb"
        hint = f"did you mean: {', '.join(close)}?" if close else f"there are: {', '.join(VERBS)}"
        return _refuse(f"{first}: no such {kind}; {hint}")
    # argparse, Hydra and log lines take the program's name from here.
    sys.argv = [f"fairseq {name}", *rest]
    result = find(VERBS[name].run)()
    return result if isinstance(result, int) else 0


def console_main() -> None:
    """The installed command ``fairseq``."""
    sys.exit(main())


if __name__ == "__main__":
    console_main()
