"""Distributed training under upstream's names; the work is in ``launch``, ``groups`` and ``collectives``."""

from fairseq.distributed.collectives import (
    all_gather,
    all_gather_list,
    all_reduce,
    all_reduce_dict,
    all_to_all,
    broadcast,
    broadcast_object,
    broadcast_tensors,
)
from fairseq.distributed.groups import (
    get_data_parallel_group,
    get_data_parallel_rank,
    get_data_parallel_world_size,
    get_global_group,
    get_global_rank,
    get_global_world_size,
    get_model_parallel_group,
    get_model_parallel_rank,
    get_model_parallel_world_size,
    get_rank,
    get_world_size,
    new_groups,
    use_xla,
)
from fairseq.distributed.launch import call_main, distributed_init, distributed_main, infer_init_method, is_master

__all__ = [
    "all_gather",
    "all_gather_list",
    "all_reduce",
    "all_reduce_dict",
    "all_to_all",
    "broadcast",
    "broadcast_object",
    "broadcast_tensors",
    "call_main",
    "distributed_init",
    "distributed_main",
    "get_data_parallel_group",
    "get_data_parallel_rank",
    "get_data_parallel_world_size",
    "get_global_group",
    "get_global_rank",
    "get_global_world_size",
    "get_model_parallel_group",
    "get_model_parallel_rank",
    "get_model_parallel_world_size",
    "get_rank",
    "get_world_size",
    "infer_init_method",
    "is_master",
    "new_groups",
    "use_xla",
    "xm",
]

# torch_xla's module in upstream; there is no TPU support here.
xm = None
