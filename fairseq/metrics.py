"""Old path of ``fairseq.logging.metrics``."""

from fairseq.compat.aliases import install

install(__name__)
