"""The command ``fairseq-patch``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Sequence

from . import report
from ._cst import MissingLibCST
from .explain import explain
from .ledger import Ledger, LedgerError, mark_of, seen_marks
from .model import COMPONENTS, parse_target
from .next_steps import next_steps
from .registry import PATCHES
from .runner import Report, examine, remember_applied, require_libcst, select
from .tree import LEDGER, read_file
from .tree_text import helper_text, is_helper

__all__ = ["build_parser", "main"]

EPILOG = """\
exit codes:
  0  done, or nothing to do
  1  check: something would be rewritten; explain: no patch knows the error;
     any: a file could not be rewritten, written or restored, or LibCST is missing
  2  wrong usage
Places that are left to a person, and files that are no Python, do not change the exit code.
"""


class UserError(Exception):
    """Bad input; shown as one line."""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="fairseq-patch",
        description="Make a vendored copy of fairseq, and the code around it, run on current Python and PyTorch.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="show all patches")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.add_argument("--markdown", action="store_true", help="print the page docs/patches.md")

    explaining = commands.add_parser("explain", help="which patch mends an error")
    explaining.add_argument("text", help="an error message, a traceback, a patch id, or - to read standard input")
    explaining.add_argument("--json", action="store_true", help="print JSON")

    checking = commands.add_parser("check", help="show what would be patched; exit code 1 if anything would")
    _add_tree(checking)
    _add_choice(checking)
    checking.add_argument("--diff", action="store_true", help="also print the changes")

    applying = commands.add_parser("apply", help="patch the tree")
    _add_tree(applying)
    _add_choice(applying)
    applying.add_argument("--diff", action="store_true", help="also print the changes that are made")
    applying.add_argument("--backup", action="store_true", help="keep each original beside its file as NAME.orig")

    seeing = commands.add_parser("seen", help="take places off the list of what is left to a person")
    _add_tree(seeing)
    seeing.add_argument("places", nargs="*", metavar="FILE:LINE", help="places of the list (default: all of them)")
    _add_choice(seeing)

    reverting = commands.add_parser("revert", help="give every patched file its original content back")
    _add_tree(reverting)
    return parser


def _add_tree(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="?", type=Path, help="a repository, a fairseq folder, or one file")
    parser.add_argument("--installed", action="store_true", help="work on the fairseq installed for this Python")
    parser.add_argument("--python", metavar="EXE", help="with --installed: the Python whose fairseq is meant")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="run only this patch (repeatable)")
    parser.add_argument("--skip", action="append", default=[], metavar="ID", help="leave this patch out (repeatable)")
    parser.add_argument(
        "--target",
        metavar="NAME=VERSION,...",
        help=f"patch only what breaks on these versions ({', '.join(COMPONENTS)}); default: the newest of all",
    )
    parser.add_argument(
        "--allow-unsafe-load",
        action="store_true",
        help="let torch.load run code from checkpoints again (weights_only=False); only for files you trust",
    )
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="processes (default: one per core)")
    parser.add_argument("--no-cache", action="store_true", help="neither use nor keep what is known of unchanged files")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar on standard error")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = build_parser().parse_args(argv)
    commands = {
        "list": _list,
        "explain": _explain,
        "check": _check,
        "apply": _apply,
        "seen": _seen,
        "revert": _revert,
    }
    try:
        return commands[args.command](args)
    except BrokenPipeError:
        # The reader of the output (head, less) has gone; Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UserError, ValueError) as err:
        print(f"fairseq-patch: {err}", file=sys.stderr)
        return 2
    except (MissingLibCST, LedgerError, OSError) as err:
        print(f"fairseq-patch: {err}", file=sys.stderr)
        return 1


def _list(args: argparse.Namespace) -> int:
    if args.markdown:
        print(report.markdown(PATCHES), end="")
    elif args.json:
        _print_json([report.card(patch) for patch in PATCHES])
    else:
        print(report.table(PATCHES))
    return 0


def _explain(args: argparse.Namespace) -> int:
    text = sys.stdin.read() if args.text == "-" else args.text
    matches = explain(text, PATCHES)
    if args.json:
        _print_json({"matches": [report.card(match.patch) for match in matches]})
    elif not matches:
        print("No patch knows this error. `fairseq-patch list` shows all; `fairseq-patch check PATH` looks at a tree.")
    else:
        print(report.explanation(matches))
    return 0 if matches else 1


def _places(args: argparse.Namespace) -> tuple[Path, tuple[str, ...]]:
    """Root to work in, and the names below it to stay with (all when empty)."""
    if args.installed:
        if args.path is not None:
            raise UserError("give a PATH or --installed, not both")
        return _installed(args.python)
    if args.path is None:
        raise UserError("give a PATH, or --installed")
    path = args.path.expanduser()
    if not path.exists():
        raise UserError(f"{args.path}: no such file or folder")
    if path.is_dir():
        return path.resolve(), ()
    if path.is_symlink() or not path.is_file():
        raise UserError(f"{args.path}: neither a folder nor a plain file (links are not followed)")
    return path.parent.resolve(), (path.name,)


def _installed(python: str | None) -> tuple[Path, tuple[str, ...]]:
    if python is None:
        spec = find_spec("fairseq")
        found = list(spec.submodule_search_locations or []) if spec is not None else []
    else:
        code = (
            "import importlib.util as u; s = u.find_spec('fairseq'); "
            "print(*(s.submodule_search_locations if s else []))"
        )
        # Away from the current folder, which -c would put first on the path.
        done = subprocess.run([python, "-c", code], cwd="/", capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UserError(f"--python {python}: {done.stderr.strip().splitlines()[-1:] or 'failed'}")
        found = done.stdout.split("\n")[:1] if done.stdout.strip() else []
    if not found:
        raise UserError(f"no fairseq is installed for {python or sys.executable}")
    package = Path(found[0]).resolve()
    if (package / "_index.py").is_file() and (package / "compat").is_dir():
        raise UserError(f"{package} is the maintained fairseq already; it needs no patches")
    return package.parent, ("fairseq", "fairseq_cli")


def _examine(args: argparse.Namespace) -> Report:
    only = [name for item in args.only for name in item.split(",") if name]
    skip = [name for item in args.skip for name in item.split(",") if name]
    patches = select(only, skip, parse_target(args.target))
    root, entries = _places(args)
    require_libcst()
    bar = None if args.no_progress or args.json or not sys.stderr.isatty() else report.ProgressBar(sys.stderr)
    try:
        result = examine(
            root,
            patches,
            allow_unsafe_load=args.allow_unsafe_load,
            jobs=args.jobs,
            entries=entries,
            progress=bar,
            use_cache=not args.no_cache,
        )
        seen = seen_marks(root)
        for outcome in result.outcomes:
            outcome.findings = [
                replace(finding, seen=finding.seen or (finding.by_hand and mark_of(finding) in seen))
                for finding in outcome.findings
            ]
        return result
    finally:
        if bar is not None:
            bar.close()


def _check(args: argparse.Namespace) -> int:
    result = _examine(args)
    if args.json:
        _print_json(report.as_json(result, diffs=args.diff))
    else:
        if args.diff:
            print(report.diffs(result), end="")
        print(report.summary(result, "would be"))
    return 1 if result.changed or result.failed else 0


def _seen(args: argparse.Namespace) -> int:
    result = _examine(args)
    left = [finding for finding in result.findings if finding.by_hand]
    chosen = [finding for finding in left if not args.places or f"{finding.path}:{finding.line}" in args.places]
    unknown = set(args.places) - {f"{finding.path}:{finding.line}" for finding in chosen}
    if unknown:
        raise UserError(f"{', '.join(sorted(unknown))}: not on the list of `fairseq-patch check {args.path}`")
    Ledger(result.root).mark_seen({mark_of(finding) for finding in chosen})
    if args.json:
        _print_json({"seen": [f"{finding.path}:{finding.line}" for finding in chosen]})
    else:
        print(f"{len(chosen)} places are marked as seen.")
    return 0


def _apply(args: argparse.Namespace) -> int:
    result = _examine(args)
    refused = []
    ledger = Ledger(result.root)
    helper = helper_text()
    for name in sorted({name for outcome in result.changed for name in outcome.helpers}):
        place = ledger.locate(name)
        old = read_file(place) if place.exists() else None
        if old is not None and not is_helper(old):
            raise UserError(f"{name} is in the way: rename it, or use --skip for the patches that add it")
        if old != helper:
            ledger.write(name, old, helper)
    for outcome in result.changed:
        assert outcome.old is not None and outcome.new is not None
        try:
            if args.backup:
                _back_up(ledger, outcome.path, outcome.old)
            ledger.write(outcome.path, outcome.old, outcome.new)
        except (OSError, LedgerError) as err:
            refused.append((outcome.path, str(err)))
    for path, why in refused:
        print(f"fairseq-patch: {path}: not written: {why}", file=sys.stderr)
    failed = {path for path, _ in refused}
    remember_applied(result, {outcome.path for outcome in result.changed} - failed)
    result.outcomes = [outcome for outcome in result.outcomes if outcome.path not in failed]
    if args.json:
        _print_json({**report.as_json(result, diffs=args.diff), "refused": [list(item) for item in refused]})
    else:
        if args.diff:
            print(report.diffs(result), end="")
        print(report.summary(result, "are"))
        if result.changed:
            print(f"Originals are kept in {result.root / LEDGER}; `fairseq-patch revert` gives them back.")
        print("\n".join(next_steps(result)))
    return 1 if refused or result.failed else 0


def _back_up(ledger: Ledger, path: str, data: bytes) -> None:
    backup = ledger.locate(path + ".orig")
    if backup.exists() or backup.is_symlink():
        # The oldest one is the original; a second run must not replace it.
        return
    ledger.write(path + ".orig", None, data)


def _revert(args: argparse.Namespace) -> int:
    root, _ = _places(args)
    done = Ledger(root).revert()
    if args.json:
        _print_json(
            {"restored": done.restored, "removed": done.removed, "refused": [list(item) for item in done.refused]}
        )
    else:
        print(
            f"{len(done.restored)} files have their original content again, {len(done.removed)} added files are gone."
        )
    for path, why in done.refused:
        print(f"fairseq-patch: {path}: {why}", file=sys.stderr)
    return 1 if done.refused else 0


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))
