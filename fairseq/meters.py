"""Old path of ``fairseq.logging.meters``."""

from fairseq.compat.aliases import install

install(__name__)
