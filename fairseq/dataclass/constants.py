"""Lists of choices, as enums whose members behave like their strings."""

from enum import Enum, EnumMeta
from typing import Any, List

__all__ = [
    "DATASET_IMPL_CHOICES",
    "DDP_BACKEND_CHOICES",
    "DDP_COMM_HOOK_CHOICES",
    "GENERATION_CONSTRAINTS_CHOICES",
    "GENERATION_DECODING_FORMAT_CHOICES",
    "LOG_FORMAT_CHOICES",
    "PIPELINE_CHECKPOINT_CHOICES",
    "PRINT_ALIGNMENT_CHOICES",
    "ZERO_SHARDING_CHOICES",
    "ChoiceEnum",
    "StrEnum",
    "StrEnumMeta",
]


class StrEnumMeta(EnumMeta):
    """Lets members of equal enums count as instances of each other.

    ``ChoiceEnum(["a"])`` makes a new class at every call, so a value from one copy of a module (a worker, a pickled
    config) would otherwise be refused by the other.
    """

    def __instancecheck__(cls, instance: Any) -> bool:
        if super().__instancecheck__(instance):
            return True
        kind = type(instance)
        return isinstance(kind, StrEnumMeta) and {m.value for m in kind} == {m.value for m in cls}  # type: ignore[var-annotated]


class StrEnum(Enum, metaclass=StrEnumMeta):
    """An enum whose members print as, compare with and hash like their string values."""

    def __str__(self) -> str:
        return str(self.value)

    def __repr__(self) -> str:
        return str(self.value)

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, (str, Enum)) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self.value))


def ChoiceEnum(choices: List[str]) -> Any:
    """An enum class (named ``Choices``) with one member per string, for fields that take one of a list."""
    functional: Any = StrEnum  # the type checker follows the functional form with literal members only
    return functional("Choices", {choice: choice for choice in choices}, module=__name__)


LOG_FORMAT_CHOICES = ChoiceEnum(["json", "none", "simple", "tqdm"])
DDP_BACKEND_CHOICES = ChoiceEnum(["c10d", "fully_sharded", "legacy_ddp", "no_c10d", "pytorch_ddp", "slowmo"])
DDP_COMM_HOOK_CHOICES = ChoiceEnum(["none", "fp16"])
DATASET_IMPL_CHOICES = ChoiceEnum(["raw", "lazy", "cached", "mmap", "fasta", "huffman"])
GENERATION_CONSTRAINTS_CHOICES = ChoiceEnum(["ordered", "unordered"])
GENERATION_DECODING_FORMAT_CHOICES = ChoiceEnum(["unigram", "ensemble", "vote", "dp", "bs"])
ZERO_SHARDING_CHOICES = ChoiceEnum(["none", "os"])
PIPELINE_CHECKPOINT_CHOICES = ChoiceEnum(["always", "never", "except_last"])
PRINT_ALIGNMENT_CHOICES = ChoiceEnum(["hard", "soft"])
