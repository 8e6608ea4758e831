"""``--bpe fastbpe``: byte-pair encoding by the fastBPE package."""

from dataclasses import dataclass

from fairseq.data.encoders import register_bpe
from fairseq.data.encoders._files import needed_file, needed_package
from fairseq.dataclass.configs import MISSING, FairseqDataclass
from fairseq.dataclass.fields import option

__all__ = ["fastBPE", "fastBPEConfig"]


@dataclass
class fastBPEConfig(FairseqDataclass):
    """Options of ``--bpe fastbpe``."""

    bpe_codes: str = option(MISSING, "file of merge operations that fastBPE learnt")


@register_bpe("fastbpe", dataclass=fastBPEConfig)
class fastBPE:
    """Pieces separated by spaces; all but the last of a word end in ``@@``.

    Raises:
        ValueError: no merge operations were given.
        ImportError: fastBPE is not installed.
    """

    def __init__(self, cfg: fastBPEConfig) -> None:
        path = needed_file(cfg, "bpe_codes", "fastbpe")
        self.bpe = needed_package("fastBPE").fastBPE(path)
        self.bpe_symbol = "@@ "

    def encode(self, x: str) -> str:
        """Cut the words of a text into pieces."""
        return self.bpe.apply([x])[0]

    def decode(self, x: str) -> str:
        """Join pieces."""
        return (x + " ").replace(self.bpe_symbol, "").rstrip()
