"""What an earlier run found out about a file, kept by the file's content, so that a second run is quick.

The cache lies in the user's cache folder (``$FAIRSEQ_PATCH_CACHE``, else ``$XDG_CACHE_HOME/fairseq-patch``, else
``~/.cache/fairseq-patch``), never in the tree. It is only ever a shortcut: a file of it that cannot be read, or that
another version of the tool wrote, counts as empty.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, List, Tuple

from .ledger import atomic_write, digest
from .model import Finding, Outcome
from .scan import ClassFacts, Scan
from .tree import read_file

__all__ = ["After", "Cache", "cache_folder"]

# A rewritten file as it will be: its scan, its content, and what is left in it for a person.
After = Tuple[Scan, bytes, List[Finding]]

# Number of trees whose caches are kept; the ones that were used longest ago go first.
KEPT = 50


def cache_folder() -> Path | None:
    """Where caches lie; None where there is no home, or the variable is set to nothing."""
    given = os.environ.get("FAIRSEQ_PATCH_CACHE")
    if given is not None:
        return Path(given) if given else None
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "fairseq-patch"
    except RuntimeError:
        return None


def tool_version() -> str:
    """Digest of this package's own files and of what parses Python for it."""
    whole = hashlib.sha256(sys.version.encode())
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*.py")):
        whole.update(path.read_bytes())
    try:
        from importlib.metadata import version

        whole.update(version("libcst").encode())
    except ImportError:
        pass
    return whole.hexdigest()


def _scan_of(fields: dict[str, Any]) -> Scan:
    classes = [ClassFacts(**{**item, "bases": tuple(item["bases"])}) for item in fields["classes"]]
    return Scan(**{**fields, "classes": classes})


class Cache:
    """Scans and outcomes of the files of one tree.

    Args:
        root: the tree.
        settings: whatever else the results depend on from the start (ids of the patches).
    """

    def __init__(self, root: Path, settings: str) -> None:
        self.path: Path | None = None
        self.scans: dict[str, Any] = {}
        self.outcomes: dict[str, Any] = {}
        self.digests: dict[str, str] = {}
        folder = cache_folder()
        if folder is None:
            return
        self.version = digest(f"{tool_version()} {settings}".encode())
        self.path = folder / (digest(f"{root} {settings}".encode())[:32] + ".json")
        try:
            content = json.loads(read_file(self.path))
            if content["version"] == self.version:
                self.scans, self.outcomes = dict(content["scans"]), dict(content["outcomes"])
        except (OSError, ValueError, KeyError, TypeError):
            pass

    def scan(self, path: str, data: bytes) -> Scan | None:
        """What is known of a file with this content."""
        self.digests[path] = digest(data)
        try:
            known, fields = self.scans[path]
            if known != self.digests[path]:
                return None
            return _scan_of(fields)
        except (KeyError, TypeError, ValueError):
            return None

    def put_scan(self, scan: Scan, data: bytes | None = None) -> None:
        """Remember a scan: of the content seen by :meth:`scan`, or of ``data``."""
        known = digest(data) if data is not None else self.digests.get(scan.path)
        if known is not None:
            self.scans[scan.path] = [known, asdict(scan)]

    def outcome(self, path: str, options: str) -> Outcome | None:
        """What the rules made of the file as :meth:`scan` saw it."""
        try:
            known, settings, fields = self.outcomes[path][:3]
            if known != self.digests[path] or settings != options:
                return None
            new = fields["new"]
            findings = [Finding(**item) for item in fields["findings"]]
            return Outcome(
                path,
                new=base64.b64decode(new) if new is not None else None,
                findings=findings,
                problem=fields["problem"],
                helpers=list(fields["helpers"]),
                failed=fields["failed"],
            )
        except (KeyError, TypeError, ValueError, IndexError):
            return None

    def after(self, outcome: Outcome) -> After | None:
        """What :meth:`put_outcome` was told of the file as it will be."""
        try:
            scan, findings = self.outcomes[outcome.path][3]
            assert outcome.new is not None
            return _scan_of(scan), outcome.new, [Finding(**item) for item in findings]
        except (KeyError, TypeError, ValueError, IndexError):
            return None

    def put_outcome(
        self, outcome: Outcome, options: str, data: bytes | None = None, after: After | None = None
    ) -> None:
        """Remember an outcome: of the content seen by :meth:`scan`, or of ``data``."""
        known = digest(data) if data is not None else self.digests.get(outcome.path)
        if known is None:
            return
        fields = {
            "new": base64.b64encode(outcome.new).decode() if outcome.new is not None else None,
            "findings": [asdict(finding) for finding in outcome.findings],
            "problem": outcome.problem,
            "helpers": outcome.helpers,
            "failed": outcome.failed,
        }
        self.outcomes[outcome.path] = [known, options, fields]
        if after is not None:
            self.outcomes[outcome.path].append([asdict(after[0]), [asdict(finding) for finding in after[2]]])

    def save(self) -> None:
        """Write the cache; a full disk or a read-only home only costs the next run its shortcut."""
        if self.path is None:
            return
        content = {"version": self.version, "scans": self.scans, "outcomes": self.outcomes}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            atomic_write(self.path, json.dumps(content).encode(), 0o600)
            others = sorted(self.path.parent.glob("*.json"), key=lambda place: place.stat().st_mtime)
            for place in others[:-KEPT]:
                place.unlink()
        except OSError:
            pass
