"""``--bpe bert``: WordPiece as BERT uses it (Devlin et al. 2019), by Hugging Face's transformers."""

from dataclasses import dataclass
from typing import Optional

from fairseq.data.encoders import register_bpe
from fairseq.data.encoders._files import needed_package
from fairseq.dataclass.configs import FairseqDataclass
from fairseq.dataclass.fields import option

__all__ = ["BertBPE", "BertBPEConfig"]

CONTINUATION = "##"
# How a tokenizer's spaces before punctuation and clitics are taken out again.
JOINED = ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m")) + (
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


@dataclass
class BertBPEConfig(FairseqDataclass):
    """Options of ``--bpe bert``."""

    bpe_cased: bool = option(False, "keep upper case")
    bpe_vocab_file: Optional[str] = option(None, "file of word pieces, one per line (default: that of bert-base)")


@register_bpe("bert", dataclass=BertBPEConfig)
class BertBPE:
    """Word pieces separated by spaces; all but the first of a word begin with ``##``.

    Raises:
        ImportError: transformers is not installed.
        OSError: no vocabulary file was given, and that of bert-base can be had neither from the cache nor the network.
    """

    def __init__(self, cfg: BertBPEConfig) -> None:
        tokenizer = needed_package("transformers").BertTokenizer
        if cfg.bpe_vocab_file:
            self.bert_tokenizer = tokenizer(cfg.bpe_vocab_file, do_lower_case=not cfg.bpe_cased)
        else:
            self.bert_tokenizer = tokenizer.from_pretrained("bert-base-cased" if cfg.bpe_cased else "bert-base-uncased")

    def encode(self, x: str) -> str:
        """Cut a text into word pieces."""
        return " ".join(self.bert_tokenizer.tokenize(x))

    def decode(self, x: str) -> str:
        """Join word pieces, and punctuation with the word before it."""
        text = x.replace(" " + CONTINUATION, "").strip()
        for apart, together in JOINED:
            text = text.replace(apart, together)
        return text

    def is_beginning_of_word(self, x: str) -> bool:
        """Whether a piece begins a word."""
        return not x.startswith(CONTINUATION)
