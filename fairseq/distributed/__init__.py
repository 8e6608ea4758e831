"""Many processes, one model.

``launch``       how processes come to be: torchrun, SLURM, or started here
``groups``       who belongs together, and who one is
``collectives``  tensors, numbers and objects from one worker to the others
``utils``        all of the above under upstream's names
``legacy_distributed_data_parallel``  gradients exchanged once per update
``fully_sharded_data_parallel``       parameters spread over workers (FSDP2)
``module_proxy_wrapper`` ``distributed_timeout_wrapper``   thin wrappers around a wrapped model
"""

from fairseq._lazy import attach

__all__ = [
    "DistributedTimeoutWrapper",
    "FullyShardedDataParallel",
    "LegacyDistributedDataParallel",
    "ModuleProxyWrapper",
    "TPUDistributedDataParallel",
    "fsdp_enable_wrap",
    "fsdp_wrap",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "DistributedTimeoutWrapper": "distributed_timeout_wrapper",
        "FullyShardedDataParallel": "fully_sharded_data_parallel",
        "LegacyDistributedDataParallel": "legacy_distributed_data_parallel",
        "ModuleProxyWrapper": "module_proxy_wrapper",
        "TPUDistributedDataParallel": "tpu_distributed_data_parallel",
        "fsdp_enable_wrap": "fully_sharded_data_parallel",
        "fsdp_wrap": "fully_sharded_data_parallel",
    },
)
