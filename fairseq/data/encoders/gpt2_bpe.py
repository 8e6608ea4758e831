"""``--bpe gpt2``: the byte-level encoding of GPT-2 (Radford et al. 2019), which RoBERTa and BART use as well."""

from dataclasses import dataclass

from fairseq import file_utils
from fairseq.data.encoders import register_bpe
from fairseq.data.encoders.gpt2_bpe_utils import get_encoder
from fairseq.dataclass.configs import FairseqDataclass
from fairseq.dataclass.fields import option

__all__ = ["DEFAULT_ENCODER_JSON", "DEFAULT_VOCAB_BPE", "GPT2BPE", "GPT2BPEConfig", "get_encoder"]

DEFAULT_ENCODER_JSON = "https://dl.fbaipublicfiles.com/fairseq/gpt2_bpe/encoder.json"
DEFAULT_VOCAB_BPE = "https://dl.fbaipublicfiles.com/fairseq/gpt2_bpe/vocab.bpe"


@dataclass
class GPT2BPEConfig(FairseqDataclass):
    """Options of ``--bpe gpt2``. The default files are fetched once and kept."""

    gpt2_encoder_json: str = option(DEFAULT_ENCODER_JSON, "file or URL of the table from pieces to numbers")
    gpt2_vocab_bpe: str = option(DEFAULT_VOCAB_BPE, "file or URL of the merge operations")


@register_bpe("gpt2", dataclass=GPT2BPEConfig)
class GPT2BPE:
    """Pieces as decimal numbers, separated by spaces."""

    def __init__(self, cfg: GPT2BPEConfig) -> None:
        encoder_json = file_utils.cached_path(cfg.gpt2_encoder_json)
        vocab_bpe = file_utils.cached_path(cfg.gpt2_vocab_bpe)
        self.bpe = get_encoder(encoder_json, vocab_bpe)

    def encode(self, x: str) -> str:
        """Cut a text into pieces."""
        return " ".join(map(str, self.bpe.encode(x)))

    def decode(self, x: str) -> str:
        """Join pieces. Symbols such as ``<unk>`` and ``<mask>`` are no numbers and are kept as they are."""
        return self.bpe.decode([int(token) if token.isdecimal() else token for token in x.split()])

    def is_beginning_of_word(self, x: str) -> bool:
        """Whether a piece begins a word: its text begins with a space."""
        return self.decode(x).startswith(" ")
