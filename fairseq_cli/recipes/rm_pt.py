"""``scripts/rm_pt.py``: delete checkpoints of past epochs and updates below some folders, after asking.

What is kept: ``checkpoint_best.pt`` and ``checkpoint_last.pt`` (unless asked for), the newest N, and every N-th counted
back from the newest one.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from fairseq.compat.suggest import Parser

__all__ = ["choose", "main"]

EPOCH = re.compile(r"checkpoint(\d+)\.pt")
UPDATE = re.compile(r"checkpoint_(\d+)_(\d+)\.pt")
NAMED = re.compile(r"checkpoint_(best|last)\.pt")


def main(argv: Sequence[str]) -> None:
    """Run the script with the words of its command line."""
    parser = Parser(prog="rm_pt.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("root_dirs", nargs="*", type=Path, metavar="FOLDER", help="where to look, subfolders included")
    parser.add_argument(
        "--save-last", type=int, default=0, metavar="N", help="keep the newest N (default: %(default)s)"
    )
    parser.add_argument("--save-every", type=int, default=0, metavar="N", help="keep every N-th (default: none)")
    parser.add_argument(
        "--preserve-test", action="store_true", help="keep what is in folders that begin with test_ (default: delete)"
    )
    parser.add_argument("--delete-best", action="store_true", help="delete checkpoint_best.pt as well")
    parser.add_argument("--delete-last", action="store_true", help="delete checkpoint_last.pt as well")
    parser.add_argument("--no-dereference", action="store_true", help="do not delete what links point to")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    args = parser.parse_args(argv)
    if not args.root_dirs:
        parser.error("name at least one folder")
    doomed: list[Path] = []
    for root in args.root_dirs:
        if not root.is_dir():
            raise NotADirectoryError(f"{root}: no such folder")
        for folder, _, names in sorted(os.walk(root)):
            doomed += [Path(folder) / name for name in choose(Path(folder).name, names, args)]
    if not doomed:
        print("Nothing to delete.")
        return
    print("to be deleted:", *doomed, sep="\n  ")
    if not args.yes and not _confirmed(len(doomed)):
        print("nothing was deleted")
        return
    for path in doomed:
        if path.is_symlink() and not args.no_dereference:
            path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    print(f"deleted {len(doomed)} files")


def _confirmed(count: int) -> bool:
    sys.stdout.write(f"delete these {count} files? (y/N) ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def choose(folder: str, names: Sequence[str], args: argparse.Namespace) -> list[str]:
    """The files of one folder to delete.

    Args:
        folder: its name.
        names: of the files in it.
        args: the options.

    Returns:
        Names, the numbered ones from old to new.
    """
    in_test = folder.startswith("test_")
    if in_test and args.preserve_test:
        return []
    numbered = sorted((_order(name), name) for name in names if _order(name) is not None)
    kept: set[str] = set()
    if not in_test:
        ordered = [name for _, name in numbered]
        if args.save_last > 0:
            kept.update(ordered[-args.save_last :])
        if args.save_every > 0:
            kept.update(ordered[:: -args.save_every])
    named = {"best": args.delete_best, "last": args.delete_last}
    doomed = [name for _, name in numbered if name not in kept]
    for name in sorted(names):
        match = NAMED.fullmatch(name)
        if match is not None and (in_test or named[match.group(1)]):
            doomed.append(name)
    return doomed


def _order(name: str) -> tuple[int, int] | None:
    """Epoch and update of a numbered checkpoint; the end of an epoch comes after its updates."""
    if match := EPOCH.fullmatch(name):
        return int(match.group(1)), sys.maxsize
    if match := UPDATE.fullmatch(name):
        return int(match.group(1)), int(match.group(2))
    return None
