"""Old path of ``fairseq.data.legacy.masked_lm_dictionary``."""

from fairseq.compat.aliases import install

install(__name__)
