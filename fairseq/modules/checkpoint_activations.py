"""Activation checkpointing: recompute a module in the backward pass instead of keeping its activations
(Chen et al. 2016, https://arxiv.org/abs/1604.06174).

``checkpoint_wrapper``   gives a module a forward that does so; ``unwrap_checkpoint`` takes it back
``CheckpointFunction``   the same as an autograd function, for code that calls it directly
"""

import functools
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fairseq.modules.fused.attention import without_fused_attention

__all__ = [
    "CheckpointFunction",
    "checkpoint_wrapper",
    "pack_kwargs",
    "split_non_tensors",
    "unpack_kwargs",
    "unpack_non_tensors",
    "unwrap_checkpoint",
]


def checkpoint_wrapper(m: nn.Module, offload_to_cpu: bool = False) -> nn.Module:
    """Make a module recompute itself in the backward pass; parameters keep their names.

    Args:
        m: any module; its inputs may be nested, its random numbers are drawn again alike.
        offload_to_cpu: keep the inputs (float tensors) in host memory in the meantime.

    Returns:
        ``m`` itself, with another ``forward``; the former one is kept as ``precheckpoint_forward``.

    Raises:
        ValueError: the module is wrapped already.
    """
    if hasattr(m, "precheckpoint_forward"):
        raise ValueError(f"checkpoint_wrapper: {type(m).__name__} is wrapped already")
    plain = m.forward
    m.precheckpoint_forward = plain  # type: ignore[assignment]
    m.forward = functools.partial(_checkpointed, plain, offload_to_cpu)
    return m


def unwrap_checkpoint(m: nn.Module) -> nn.Module:
    """Give a module and all its parts their plain ``forward`` back."""
    for module in m.modules():
        if hasattr(module, "precheckpoint_forward"):
            module.forward = module.precheckpoint_forward  # type: ignore[assignment]
            del module.precheckpoint_forward
    return m


def _checkpointed(plain: Callable[..., Any], offload: bool, *args: Any, **kwargs: Any) -> Any:
    # Incremental caches are changed by the forward pass, so it must not run twice; and without gradients there is
    # nothing to recompute.
    if not torch.is_grad_enabled():
        return plain(*args, **kwargs)
    names, flat = pack_kwargs(*args, **kwargs)
    if not offload:
        return checkpoint(_call_in_steps, plain, names, *flat, use_reentrant=False)
    devices = [x.device if _is_float(x) else None for x in flat]
    stored = [x.to("cpu", non_blocking=False) if _is_float(x) else x for x in flat]
    return checkpoint(_call_on, plain, names, devices, *stored, use_reentrant=False)


def _is_float(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point()


def _call(plain: Callable[..., Any], names: List[str], *flat: Any) -> Any:
    args, kwargs = unpack_kwargs(names, list(flat))
    return plain(*args, **kwargs)


def _call_in_steps(plain: Callable[..., Any], names: List[str], *flat: Any) -> Any:
    if torch.compiler.is_compiling():
        return _call(plain, names, *flat)
    with without_fused_attention():
        return _call(plain, names, *flat)


def _call_on(plain: Callable[..., Any], names: List[str], devices: List[Any], *flat: Any) -> Any:
    moved = [x if device is None else x.to(device) for x, device in zip(flat, devices)]
    return _call_in_steps(plain, names, *moved)


def pack_kwargs(*args: Any, **kwargs: Any) -> Tuple[List[str], List[Any]]:
    """``f(a, b, c=1)`` -> ``(["c"], [a, b, 1])``: names of the last arguments, and all arguments in one list."""
    return list(kwargs), [*args, *kwargs.values()]


def unpack_kwargs(kwarg_keys: List[str], flat_args: List[Any]) -> Tuple[List[Any], Dict[str, Any]]:
    """The inverse of :func:`pack_kwargs`."""
    count = len(flat_args) - len(kwarg_keys)
    return list(flat_args[:count]), dict(zip(kwarg_keys, flat_args[count:]))


def split_non_tensors(mixed: Any) -> Tuple[Tuple[Tensor, ...], Optional[Dict[str, List[Any]]]]:
    """Split a tensor, or a sequence of tensors and other objects, into tensors and the rest.

    Returns:
        The tensors, and ``{"is_tensor": [...], "objects": [...]}`` (``None`` for a single tensor).
    """
    if isinstance(mixed, Tensor):
        return (mixed,), None
    is_tensor = [isinstance(x, Tensor) for x in mixed]
    tensors = tuple(x for x in mixed if isinstance(x, Tensor))
    return tensors, {"is_tensor": is_tensor, "objects": [x for x in mixed if not isinstance(x, Tensor)]}


def unpack_non_tensors(
    tensors: Tuple[Tensor, ...], packed_non_tensors: Optional[Dict[str, List[Any]]]
) -> Tuple[Any, ...]:
    """The inverse of :func:`split_non_tensors`."""
    if packed_non_tensors is None:
        return tensors
    rest, objects = iter(tensors), iter(packed_non_tensors["objects"])
    return tuple(next(rest) if is_tensor else next(objects) for is_tensor in packed_non_tensors["is_tensor"])


class CheckpointFunction(torch.autograd.Function):
    """Checkpointing as an autograd function.

    ``apply(run_function, parent_ctx_dict, kwarg_keys, *args)`` calls ``run_function`` with the arguments that
    :func:`pack_kwargs` packed. The tensors among the outputs are returned; what else there is goes to
    ``parent_ctx_dict["packed_non_tensor_outputs"]``. ``parent_ctx_dict["offload"]`` keeps the inputs in host memory.
    At least one input must require a gradient for the backward pass to run.
    """

    @staticmethod
    def forward(
        ctx: Any, run_function: Callable[..., Any], parent_ctx_dict: Dict[str, Any], kwarg_keys: List[str], *args: Any
    ) -> Any:
        ctx.run_function = run_function
        ctx.kwarg_keys = kwarg_keys
        ctx.rng = torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
        tensors, ctx.packed_non_tensors = split_non_tensors(args)
        ctx.places = [(x.device, x.requires_grad) for x in tensors]
        if parent_ctx_dict.get("offload", False):
            ctx.save_for_backward(*(x.to("cpu") for x in tensors))
        else:
            ctx.save_for_backward(*tensors)
        with torch.no_grad():
            outputs = _call(run_function, kwarg_keys, *args)
        if isinstance(outputs, Tensor):
            return outputs
        tensor_outputs, packed = split_non_tensors(outputs)
        parent_ctx_dict["packed_non_tensor_outputs"] = packed
        return tensor_outputs

    @staticmethod
    def backward(ctx: Any, *args: Any) -> Tuple[Any, ...]:
        inputs = tuple(
            x.detach().to(device).requires_grad_(needs_grad)
            for x, (device, needs_grad) in zip(ctx.saved_tensors, ctx.places)
        )
        cpu_rng, cuda_rng = ctx.rng
        devices = list(range(len(cuda_rng))) if cuda_rng is not None else []
        with torch.random.fork_rng(devices=devices), torch.enable_grad():
            torch.set_rng_state(cpu_rng)
            if cuda_rng is not None:
                torch.cuda.set_rng_state_all(cuda_rng)
            outputs = _call(ctx.run_function, ctx.kwarg_keys, *unpack_non_tensors(inputs, ctx.packed_non_tensors))
        tensor_outputs, _ = split_non_tensors(outputs)
        wanted = [(out, grad) for out, grad in zip(tensor_outputs, args) if out.requires_grad and grad is not None]
        if not wanted:
            raise RuntimeError("none of the outputs have requires_grad=True, so checkpointing is of no use here")
        torch.autograd.backward([out for out, _ in wanted], [grad for _, grad in wanted])
        grads = iter(x.grad for x in inputs)
        flags = ctx.packed_non_tensors["is_tensor"] if ctx.packed_non_tensors is not None else [True] * len(inputs)
        return (None, None, None, *(next(grads) if is_tensor else None for is_tensor in flags))
