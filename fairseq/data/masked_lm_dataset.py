"""Old path of ``fairseq.data.legacy.masked_lm_dataset``."""

from fairseq.compat.aliases import install

install(__name__)
