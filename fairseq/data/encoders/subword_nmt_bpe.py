"""``--bpe subword_nmt``: byte-pair encoding (Sennrich et al. 2016)."""

import contextlib
import io
from dataclasses import dataclass

from fairseq.data.encoders import register_bpe
from fairseq.data.encoders._files import needed_file, needed_package
from fairseq.dataclass.configs import MISSING, FairseqDataclass
from fairseq.dataclass.fields import option

__all__ = ["SubwordNMTBPE", "SubwordNMTBPEConfig"]


@dataclass
class SubwordNMTBPEConfig(FairseqDataclass):
    """Options of ``--bpe subword_nmt``."""

    bpe_codes: str = option(MISSING, "file of merge operations that subword-nmt learnt")
    bpe_separator: str = option("@@", "what marks a piece that does not end its word")


@register_bpe("subword_nmt", dataclass=SubwordNMTBPEConfig)
class SubwordNMTBPE:
    """Pieces separated by spaces; all but the last of a word end in the separator.

    Raises:
        ValueError: no merge operations were given, or something else than them.
        ImportError: subword-nmt is not installed.
    """

    def __init__(self, cfg: SubwordNMTBPEConfig) -> None:
        path = needed_file(cfg, "bpe_codes", "subword_nmt")
        apply_bpe = needed_package("subword_nmt.apply_bpe", "subword-nmt")
        said = io.StringIO()
        try:
            with open(path, encoding="utf-8") as codes, contextlib.redirect_stderr(said):
                self.bpe = apply_bpe.BPE(codes, separator=cfg.bpe_separator)
                self.bpe.process_line("ab")
        # The package ends the program over a line it cannot read; over a version it does not know, at the first word.
        except (SystemExit, ValueError, IndexError, NotImplementedError) as error:
            reason = next(iter(said.getvalue().splitlines()), str(error)) or "of a version it does not know"
            raise ValueError(f"--bpe-codes {path}: not merge operations of subword-nmt ({reason[:200]})") from None
        self.bpe_symbol = cfg.bpe_separator + " "

    def encode(self, x: str) -> str:
        """Cut the words of a text into pieces."""
        return self.bpe.process_line(x)

    def decode(self, x: str) -> str:
        """Join pieces."""
        return (x + " ").replace(self.bpe_symbol, "").rstrip()
