"""``--bpe byte_bpe``: SentencePiece on bytes (Wang et al. 2019)."""

from dataclasses import dataclass

from fairseq.data.encoders import register_bpe
from fairseq.data.encoders._files import needed_file, needed_package
from fairseq.data.encoders.byte_utils import SPACE, SPACE_ESCAPE, byte_encode, smart_byte_decode
from fairseq.dataclass.configs import MISSING, FairseqDataclass
from fairseq.dataclass.fields import option

__all__ = ["ByteBPE", "ByteBpeConfig"]


@dataclass
class ByteBpeConfig(FairseqDataclass):
    """Options of ``--bpe byte_bpe``."""

    sentencepiece_model_path: str = option(MISSING, "file of a SentencePiece model that was trained on bytes")


@register_bpe("byte_bpe", dataclass=ByteBpeConfig)
class ByteBPE:
    """Pieces of bytes, separated by spaces.

    Raises:
        ValueError: no model was given.
        ImportError: sentencepiece is not installed.
    """

    def __init__(self, cfg: ByteBpeConfig) -> None:
        path = needed_file(cfg, "sentencepiece_model_path", "byte_bpe")
        self.sp = needed_package("sentencepiece").SentencePieceProcessor(model_file=path)

    def encode(self, x: str) -> str:
        """Cut the bytes of a text into pieces."""
        return SPACE.join(self.sp.EncodeAsPieces(byte_encode(x)))

    @staticmethod
    def decode(x: str) -> str:
        """Join pieces; incomplete characters are dropped."""
        return smart_byte_decode(x.replace(SPACE, "").replace(SPACE_ESCAPE, SPACE))
