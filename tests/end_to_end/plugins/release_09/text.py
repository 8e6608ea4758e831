"""A subword encoder and a tokenizer without config classes."""

from fairseq.data.encoders import register_bpe, register_tokenizer


@register_bpe("old_bpe")
class OldBPE:
    @staticmethod
    def add_args(parser):
        parser.add_argument("--old-mark", default="@@")

    def __init__(self, args):
        self.mark = args.old_mark

    def encode(self, text):
        return text

    def decode(self, text):
        return text.replace(" ", self.mark)


@register_tokenizer("old_lower")
class OldLower:
    def __init__(self, args):
        pass

    def encode(self, text):
        return text.lower()

    def decode(self, text):
        return text
