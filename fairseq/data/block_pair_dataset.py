"""Old path of ``fairseq.data.legacy.block_pair_dataset``."""

from fairseq.compat.aliases import install

install(__name__)
