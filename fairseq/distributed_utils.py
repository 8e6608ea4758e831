"""Old path of ``fairseq.distributed.utils``."""

from fairseq.compat.aliases import install

install(__name__)
