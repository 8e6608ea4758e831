"""What a patch is: a card for people and tests, and a rule that rewrites one file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Mapping, Sequence, Tuple

if TYPE_CHECKING:
    from .context import FileContext

__all__ = ["COMPONENTS", "Example", "Finding", "Outcome", "Patch", "Rule", "Target", "parse_target", "version_tuple"]

# Fragments that must all occur, in this order, in one error text.
Fragments = Tuple[str, ...]


@dataclass(frozen=True)
class Example:
    """One more before/after pair of a card."""

    before: str
    after: str


@dataclass(frozen=True)
class Patch:
    """The card of one patch.

    Attributes:
        id: short name, as used by ``--only`` and ``--skip``.
        title: one line for ``list``.
        symptom: the error as users see it.
        cause: why it happens.
        since: component -> first version that breaks (``{"python": "3.11"}``).
        fairseq: which fairseq releases have it, in words.
        change: what the rewrite does, or for advice what the reader should do.
        matches: alternatives of ordered fragments by which ``explain`` recognises the error. Case and white space
            do not matter.
        unless: texts that mean another cause although something of ``matches`` occurs.
        before / after: a runnable example; the tests turn the first into the second.
        more: further pairs.
        untouched: look-alikes that stay as they are.
        tokens: a file is looked at only when one of these byte strings (or all of a tuple of them) occurs in it.
        features: likewise, one of these must stand in the parsed file: ``.name`` an attribute, ``a.b`` an imported
            module or name or a use of it, ``copy=`` a keyword, ``is-literal``, ``dataclass-value``, ``bad-escape``,
            ``division`` (of what may be an integer tensor), ``one-minus`` (1 - x), ``optional-text``,
            ``percent-help``. Any will do when empty.
        files: name patterns of the files the patch concerns; Python files when empty.
        advice: True when there is nothing to rewrite.
    """

    id: str
    title: str
    symptom: str
    cause: str
    since: Mapping[str, str]
    fairseq: str
    change: str
    matches: Sequence[Fragments]
    unless: Sequence[str] = ()
    before: str = ""
    after: str = ""
    more: Sequence[Example] = ()
    untouched: Sequence[str] = ()
    tokens: Sequence[bytes | Tuple[bytes, ...]] = ()
    features: Sequence[str | Tuple[str, ...]] = ()
    files: Sequence[str] = ()
    advice: bool = False

    def concerns(self, target: Mapping[str, Tuple[int, ...]]) -> bool:
        """Whether the breakage exists for ``target``; a component that is not named counts as the newest."""
        return all(name not in target or target[name] >= version_tuple(first) for name, first in self.since.items())


@dataclass(frozen=True)
class Finding:
    """One place in a file: rewritten (``by_hand`` False), or left to the reader."""

    path: str
    line: int
    patch: str
    message: str
    by_hand: bool = False
    # Of one that is left to the reader: its line of source, by which it can be marked as seen, and whether it is.
    code: str = ""
    seen: bool = False


class Rule:
    """Base of all rules: one object per patch and file.

    A rule over Python source has methods ``visit_<Node>(original)`` and ``leave_<Node>(original, updated)`` named
    after LibCST nodes; the second returns the node to put in place. All rules of a file share one walk.
    A rule over other text overrides :meth:`rewrite_text`.
    """

    patch: ClassVar[Patch]

    def __init__(self, ctx: FileContext) -> None:
        self.ctx = ctx

    def hit(self, node: Any, message: str) -> None:
        """Note that ``node`` is rewritten."""
        self.ctx.record(self.patch.id, node, message)

    def by_hand(self, node: Any, message: str) -> None:
        """Note that ``node`` wants a person."""
        self.ctx.record(self.patch.id, node, message, by_hand=True)

    def finish(self, module: Any) -> Any:
        """Called with the rewritten module after the walk; returns the module to keep."""
        return module

    def rewrite_text(self, text: str) -> str:
        """The new content of a file that is not Python."""
        raise NotImplementedError(f"{type(self).__name__} has no text rewrite")


Target = Mapping[str, Tuple[int, ...]]


def version_tuple(text: str) -> Tuple[int, ...]:
    """``"3.12"`` -> ``(3, 12)``; anything behind a part that is no number is dropped."""
    parts = []
    for part in text.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        parts.append(int(digits))
    return tuple(parts)


COMPONENTS = ("python", "torch", "numpy", "omegaconf", "hydra", "sacrebleu", "setuptools", "pip", "cython")


def parse_target(text: str | None) -> Target:
    """Read ``python=3.12,torch=2.6``.

    Raises:
        ValueError: a part is not ``component=version``, or the component is unknown.
    """
    target = {}
    for part in filter(None, (text or "").split(",")):
        name, equals, version = (piece.strip() for piece in part.partition("="))
        parsed = version_tuple(version)
        if not equals or not parsed or name not in COMPONENTS:
            raise ValueError(
                f"--target {part!r}: expected COMPONENT=VERSION with one of {', '.join(COMPONENTS)}, "
                "as in python=3.12,torch=2.6"
            )
        target[name] = parsed
    return target


@dataclass
class Outcome:
    """What one file comes to.

    Attributes:
        path: relative to the root, with forward slashes.
        new: rewritten bytes, None when nothing changes.
        old: bytes as read (kept only when ``new`` is set).
        findings: what was, or has to be, changed where.
        problem: why the file was left alone, empty when it was not.
        helpers: helper modules the new text imports, relative to the root.
        failed: a rule broke on the file; the problem names it.
        settled: findings of a further run over ``new``, when that run would change nothing; None when not known.
    """

    path: str
    new: bytes | None = None
    old: bytes | None = None
    findings: list[Finding] = field(default_factory=list)
    problem: str = ""
    helpers: list[str] = field(default_factory=list)
    failed: bool = False
    settled: list[Finding] | None = None
