"""What the CUDA devices are, and the XLA hooks that old code imports.

TPUs are not supported by this release: the functions that would need one say so.
"""

from __future__ import annotations

import os
from typing import Any, NoReturn

import torch
from torch import Tensor

__all__ = [
    "CudaEnvironment",
    "get_tpu_device",
    "is_xla_tensor",
    "leave_out_cudnn_attention",
    "tpu_data_loader",
    "xla_device_to_cpu",
    "xm",
]

# torch_xla's model module in upstream; code that asks `if xm is not None` takes its ordinary path here.
xm = None

NO_TPU = "TPUs are not supported; run on CUDA (default) or on the CPU (--cpu). For bfloat16 use --bf16 on either."


class CudaEnvironment:
    """Name, compute capability and memory (GiB) of the current CUDA device."""

    def __init__(self) -> None:
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        self.name = properties.name
        self.major = properties.major
        self.minor = properties.minor
        self.total_memory_in_GB = properties.total_memory / 2**30

    @staticmethod
    def pretty_print_cuda_env_list(cuda_env_list: list[CudaEnvironment]) -> None:
        """Log one line per worker, framed by banners."""
        import logging

        logger = logging.getLogger(__name__)
        banner = f"CUDA enviroments for all {len(cuda_env_list)} workers".center(80, "*")
        logger.info(banner)
        for rank, env in enumerate(cuda_env_list):
            logger.info(
                f"rank {rank:3d}: capabilities = {env.major:2d}.{env.minor:<2d} ; "
                f"total memory = {env.total_memory_in_GB:.3f} GB ; name = {env.name:40s}"
            )
        logger.info(banner)


def leave_out_cudnn_attention() -> None:
    """Have half-precision attention on CUDA run on the flash and memory-efficient kernels.

    cuDNN's, which recent PyTorch prefers on new cards, plans anew for every shape it meets, for about a second forward
    and backward; batches of text have a new shape nearly every time. ``FAIRSEQ_CUDNN_ATTENTION=1`` keeps it, for
    inputs of one fixed length. The switch is PyTorch's and holds for the whole process.
    """
    if os.environ.get("FAIRSEQ_CUDNN_ATTENTION", "0") in ("", "0"):
        torch.backends.cuda.enable_cudnn_sdp(False)


def is_xla_tensor(tensor: Any) -> bool:
    """Whether this is a tensor on an XLA device."""
    return isinstance(tensor, Tensor) and tensor.device.type == "xla"


def get_tpu_device() -> NoReturn:
    """Raises ``RuntimeError``: no TPU support."""
    raise RuntimeError(NO_TPU)


def tpu_data_loader(itr: Any) -> NoReturn:
    """Raises ``RuntimeError``: no TPU support."""
    raise RuntimeError(NO_TPU)


def xla_device_to_cpu(dat: Any) -> Any:
    """A copy of a nested structure with every tensor on the CPU, dtypes kept."""
    from fairseq.utils.tensors import map_tensors

    return map_tensors(lambda tensor: tensor.cpu(), dat)
