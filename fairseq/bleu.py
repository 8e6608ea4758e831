"""Old path of ``fairseq.scoring.bleu``."""

from fairseq.compat.aliases import install

install(__name__)
