"""Both looks at a whole tree, spread over processes."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Container, Iterable, Iterator, Sequence, TypeVar

from ._cst import MissingLibCST
from .cache import After, Cache
from .context import HELPER, Options, Package
from .engine import rewrite
from .ledger import digest
from .model import Finding, Outcome, Patch, Target
from .registry import PATCHES, rule_of
from .scan import Scan, build_index, scan_file
from .tree import find_packages, list_files, package_folders, read_file
from .tree_text import is_helper

__all__ = ["Report", "examine", "remember_applied", "require_libcst", "select"]

CHUNK = 24
# Below this many bytes of source, starting processes takes longer than they save.
SMALL = 400_000
T = TypeVar("T")
Progress = Callable[[str, int, int], None]


@dataclass
class Report:
    """What a whole tree comes to; paths are relative to ``root``."""

    root: Path
    packages: list[Package] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    # Folders that hold packages of others, notebooks that mention fairseq or torch, packages that are imported.
    foreign: list[str] = field(default_factory=list)
    notebooks: list[str] = field(default_factory=list)
    imported: list[str] = field(default_factory=list)
    # What is known of rewritten files as they will be.
    after: list[After] = field(default_factory=list)
    cache: Cache | None = None
    settings: str = ""

    @property
    def changed(self) -> list[Outcome]:
        """Files that get new content."""
        return [outcome for outcome in self.outcomes if outcome.new is not None]

    @property
    def looked_at(self) -> int:
        """How many files were looked at."""
        return len(self.files)

    @property
    def failed(self) -> list[Outcome]:
        """Files on which a rule broke."""
        return [outcome for outcome in self.outcomes if outcome.failed]

    @property
    def findings(self) -> list[Finding]:
        """All findings, by file and line."""
        return [finding for outcome in self.outcomes for finding in outcome.findings]

    @property
    def problems(self) -> list[Outcome]:
        """Files that were left alone."""
        return [outcome for outcome in self.outcomes if outcome.problem]


def select(only: Sequence[str], skip: Sequence[str], target: Target) -> list[Patch]:
    """Patches to run, in order.

    Raises:
        ValueError: an id is unknown.
    """
    known = {patch.id for patch in PATCHES if not patch.advice}
    for name in (*only, *skip):
        if name not in known:
            raise ValueError(f"no patch is called {name!r}; `fairseq-patch list` shows them all")
    return [
        patch
        for patch in PATCHES
        if patch.id in known
        and (not only or patch.id in only)
        and patch.id not in skip
        and (patch.id in only or patch.concerns(target))
    ]


def examine(
    root: Path,
    patches: Sequence[Patch],
    *,
    allow_unsafe_load: bool = False,
    jobs: int = 0,
    entries: Sequence[str] = (),
    progress: Progress | None = None,
    use_cache: bool = False,
) -> Report:
    """Work out what ``patches`` would do below ``root``; nothing is written.

    Args:
        root: folder to look at.
        patches: from :func:`select`.
        allow_unsafe_load: let checkpoints be read as plain pickles.
        jobs: processes; 0 for one per usable core.
        entries: look only at these top-level names.
        progress: called with the stage, files done and files in all.
        use_cache: take what an earlier run found out about files with the same content, and keep it for the next.
    """
    foreign: list[str] = []
    files = list_files(root, entries, foreign)
    packages = find_packages(root, files)
    ids = tuple(patch.id for patch in patches)
    report = Report(root, packages, files=files, foreign=foreign)
    cache = Cache(root, " ".join((*ids, *entries))) if use_cache else None
    scans, data = _known_scans(root, files, cache)
    unknown = [path for path in files if path not in scans]
    sizes = {path: _size(root / path) for path in unknown} if len(unknown) > 1 else {}
    with _Workers(jobs, sum(sizes.values())) as workers:
        for scan in workers.run(_scan_chunk, "scanning", unknown, (str(root), ids), progress):
            scans[scan.path] = scan
        options = Options(
            allow_unsafe_load=allow_unsafe_load,
            packages=tuple(packages),
            index=build_index(list(scans.values())),
            helper_names=_helper_names(root, files),
            package_folders=package_folders(files),
        )
        settings = _digest_of(options)
        outcomes, todo = [], []
        for path in files:
            scan = scans[path]
            if scan.problem or not scan.wanted:
                continue
            known = cache.outcome(path, settings) if cache is not None else None
            if known is None:
                todo.append((path, tuple(scan.wanted)))
            else:
                outcomes.append(replace(known, old=data[path] if known.new is not None else None))
                after = cache.after(known) if cache is not None and known.new is not None else None
                report.after += [after] if after is not None else []
        # Large files first, so that no process is left with one at the end.
        todo.sort(key=lambda item: -sizes.get(item[0], 0))
        for outcome, after in workers.run(_rewrite_chunk, "rewriting", todo, (str(root), options, ids), progress):
            outcomes.append(outcome)
            if after is not None:
                report.after.append(after)
            if cache is not None:
                cache.put_outcome(outcome, settings, after=after)
    if cache is not None:
        for scan in scans.values():
            cache.put_scan(scan)
        cache.save()
        report.cache, report.settings = cache, settings
    outcomes += [Outcome(scan.path, problem=scan.problem) for scan in scans.values() if scan.problem]
    report.outcomes = sorted(outcomes, key=lambda outcome: outcome.path)
    report.imported = sorted({name for scan in scans.values() for name in scan.imports})
    report.notebooks = [path for path in files if path.endswith(".ipynb") and scans[path].is_relevant]
    return report


def _known_scans(root: Path, files: Sequence[str], cache: Cache | None) -> tuple[dict[str, Scan], dict[str, bytes]]:
    """Scans that need not be made again, and the content of their files."""
    scans: dict[str, Scan] = {}
    contents: dict[str, bytes] = {}
    for path in files if cache is not None else ():
        assert cache is not None
        contents[path] = _read(root / path)
        known = cache.scan(path, contents[path])
        if known is not None:
            scans[path] = known
    return scans, contents


def _digest_of(options: Options) -> str:
    """What the outcome of a file depends on besides its content."""
    index = options.index
    parts = [
        options.allow_unsafe_load,
        [(package.folder, package.name) for package in options.packages],
        sorted(index.classes.items()),
        sorted(index.constants.items()),
        [sorted(value) if isinstance(value, frozenset) else value for value in vars(index.hydra).values()],
        sorted(options.helper_names.items()),
        sorted(options.package_folders),
    ]
    return digest(repr(parts).encode())


def remember_applied(report: Report, written: Container[str]) -> None:
    """Note what a further run over the files just written would find, so that it is as quick as any second run."""
    if report.cache is None:
        return
    for scan, data, findings in report.after:
        if scan.path in written:
            report.cache.put_scan(scan, data)
            report.cache.put_outcome(Outcome(scan.path, findings=findings), report.settings, data)
    report.cache.save()


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _helper_names(root: Path, files: Iterable[str]) -> dict[str, str]:
    """Folders where a file of the tree already has the helper's name -> the name to use instead."""
    present = set(files)
    taken = {}
    for path in present:
        folder, _, name = path.rpartition("/")
        if name != HELPER + ".py" or is_helper(_read(root / path)):
            continue
        stem = "_fairseq" + HELPER
        while f"{folder}/{stem}.py".lstrip("/") in present and not is_helper(_read(root / folder / f"{stem}.py")):
            stem = "_" + stem
        taken[folder] = stem
    return taken


def _read(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError:
        return b""


def _scan_chunk(paths: Sequence[str], shared: tuple[str, tuple[str, ...]]) -> list[Scan]:
    root, ids = shared
    patches = [patch for patch in PATCHES if patch.id in ids]
    scans = []
    for path in paths:
        try:
            data = read_file(Path(root, path))
        except OSError as err:
            scans.append(Scan(path, f"cannot be read ({err.strerror or err})"))
            continue
        scans.append(Scan(path) if is_helper(data) else scan_file(path, data, patches))
    return scans


def _rewrite_chunk(
    todo: Sequence[tuple[str, tuple[str, ...]]], shared: tuple[str, Options, tuple[str, ...]]
) -> list[tuple[Outcome, After | None]]:
    root, options, all_ids = shared
    patches = [patch for patch in PATCHES if patch.id in all_ids]
    outcomes: list[tuple[Outcome, After | None]] = []
    for path, ids in todo:
        try:
            data = read_file(Path(root, path))
        except OSError as err:
            outcomes.append((Outcome(path, problem=f"cannot be read ({err.strerror or err})"), None))
            continue
        outcome = rewrite(path, data, [rule_of(name) for name in ids], options)
        after = None
        if outcome.new is None:
            outcome = replace(outcome, findings=[finding for finding in outcome.findings if finding.by_hand])
        elif outcome.settled is not None:
            scan = scan_file(path, outcome.new, patches)
            if not scan.problem and set(scan.wanted) <= set(ids):
                after = (scan, outcome.new, outcome.settled)
        outcomes.append((outcome, after))
    return outcomes


class _Workers:
    """A process pool that is started only for work that is worth it."""

    def __init__(self, jobs: int, size: int) -> None:
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.jobs = jobs or usable
        self.pool = ProcessPoolExecutor(self.jobs) if self.jobs > 1 and size > SMALL else None

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def run(
        self,
        action: Callable[[Any, Any], list[T]],
        stage: str,
        items: Sequence[Any],
        shared: Any,
        progress: Progress | None,
    ) -> Iterator[T]:
        """Results of ``action(chunk, shared)`` over all chunks of ``items``, in no fixed order."""
        chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
        done = 0
        if self.pool is None:
            results: Iterable[tuple[int, list[T]]] = ((len(chunk), action(chunk, shared)) for chunk in chunks)
        else:
            futures = {self.pool.submit(action, chunk, shared): len(chunk) for chunk in chunks}
            results = ((futures[future], future.result()) for future in as_completed(futures))
        for count, found in results:
            done += count
            if progress is not None:
                progress(stage, done, len(items))
            yield from found


def require_libcst() -> None:
    """Fail early, with the remedy, instead of inside a worker.

    Raises:
        MissingLibCST: LibCST is not installed.
    """
    try:
        import libcst  # noqa: F401
    except ModuleNotFoundError as err:
        raise MissingLibCST(
            f"rewriting source needs LibCST, which this Python ({sys.executable}) lacks: "
            "pip install 'fairseq[patches]' (or: pip install libcst)"
        ) from err
