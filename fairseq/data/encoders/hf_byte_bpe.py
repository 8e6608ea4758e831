"""``--bpe hf_byte_bpe``: byte-level encoding by Hugging Face's tokenizers, with files of one's own."""

from dataclasses import dataclass
from itertools import groupby

from fairseq.data.encoders import register_bpe
from fairseq.data.encoders._files import needed_file, needed_package
from fairseq.dataclass.configs import MISSING, FairseqDataclass
from fairseq.dataclass.fields import option

__all__ = ["HuggingFaceByteLevelBPE", "HuggingFaceByteLevelBPEConfig"]


@dataclass
class HuggingFaceByteLevelBPEConfig(FairseqDataclass):
    """Options of ``--bpe hf_byte_bpe``."""

    bpe_merges: str = option(MISSING, "file of merge operations (merges.txt)")
    bpe_vocab: str = option(MISSING, "file of the vocabulary (vocab.json)")
    bpe_add_prefix_space: bool = option(False, "treat the first word of a text like the others, with a space before it")


@register_bpe("hf_byte_bpe", dataclass=HuggingFaceByteLevelBPEConfig)
class HuggingFaceByteLevelBPE:
    """Pieces as decimal numbers, separated by spaces.

    Raises:
        ValueError: a file was not given.
        ImportError: tokenizers is not installed.
    """

    def __init__(self, cfg: HuggingFaceByteLevelBPEConfig) -> None:
        vocab = needed_file(cfg, "bpe_vocab", "hf_byte_bpe")
        merges = needed_file(cfg, "bpe_merges", "hf_byte_bpe")
        tokenizers = needed_package("tokenizers")
        self.bpe = tokenizers.ByteLevelBPETokenizer(vocab, merges, add_prefix_space=cfg.bpe_add_prefix_space)

    def encode(self, x: str) -> str:
        """Cut a text into pieces."""
        return " ".join(map(str, self.bpe.encode(x).ids))

    def decode(self, x: str) -> str:
        """Join pieces. Symbols such as ``<unk>`` and ``<mask>`` are no numbers and are kept as they are."""
        parts = (
            self.bpe.decode(list(map(int, run))) if numbers else "".join(run)
            for numbers, run in groupby(x.split(), key=str.isdecimal)
        )
        return "".join(parts)

    def is_beginning_of_word(self, x: str) -> bool:
        """Whether a piece begins a word: its text begins with a space."""
        return self.decode(x).startswith(" ")
