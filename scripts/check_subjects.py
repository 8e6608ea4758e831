"""Check the subjects of new commits: ``component: imperative``, at most 72 characters.

    python scripts/check_subjects.py             # commits since the rule was made
    python scripts/check_subjects.py origin/main # commits that origin/main does not have

Exit code 1 names the subjects that break the rule. Without the history (a shallow clone, a source archive) there is
nothing to check.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main", "wrong"]

ROOT = Path(__file__).resolve().parent.parent
# The last commit before the rule.
SINCE = "b4dd20dde96f"
LONGEST = 72
FORM = re.compile(r"[A-Za-z0-9_.\-/, ]+: [a-z`\-]\S*( .*)?$")
# Verbs in another form than the imperative, where they begin a subject.
NOT_IMPERATIVE = re.compile(r"(\w+ing|\w+ed|adds|fixes|makes|moves|removes|renames|uses)\b")
IMPERATIVE = ("bring", "string", "feed", "need", "embed", "shed", "speed")


def wrong(subject: str) -> str | None:
    """What is wrong with a subject; ``None`` if it follows the rule."""
    if subject.startswith(("Merge ", "Revert ")):
        return None
    if len(subject) > LONGEST:
        return f"{len(subject)} characters, at most {LONGEST}"
    if not FORM.match(subject):
        return "not of the form 'component: imperative', in lower case after the colon"
    first = subject.partition(": ")[2].split()[0]
    if NOT_IMPERATIVE.match(first) and first not in IMPERATIVE:
        return f"{first!r} is not an imperative"
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is wrong and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    base = words[0] if words else SINCE
    command = ["git", "log", "--format=%h %s", f"{base}..HEAD"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"no subjects checked: {base} is not in this history")
        return 0
    found = [(line, wrong(line.partition(" ")[2])) for line in done.stdout.splitlines()]
    for line, fault in found:
        if fault:
            print(f"{line}\n    {fault}")
    return int(any(fault for _, fault in found))


if __name__ == "__main__":
    sys.exit(main())
