"""Old path of ``fairseq.logging.progress_bar``."""

from fairseq.compat.aliases import install

install(__name__)
