"""Old path of ``fairseq.distributed.legacy_distributed_data_parallel``."""

from fairseq.compat.aliases import install

install(__name__)
