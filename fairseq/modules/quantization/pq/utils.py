"""Quantise the layers of a model step by step."""

import logging
import re
from operator import attrgetter
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import torch
from torch import nn

from fairseq.modules.quantization.pq.modules import PQConv2d, PQEmbedding, PQLinear
from fairseq.modules.quantization.pq.pq import PQ

__all__ = ["SizeTracker", "attrsetter", "get_layers", "get_param", "quantize_like_", "quantize_model_"]

logger = logging.getLogger(__name__)


def quantize_model_(
    model: nn.Module,
    size_tracker: "SizeTracker",
    layers_to_quantize: List[str],
    block_sizes_config: Dict[str, Tuple[Any, Any]],
    n_centroids_config: Dict[str, Tuple[Any, Any]],
    step: int = 0,
    n_iter: int = 15,
    eps: float = 1e-6,
    max_tentatives: int = 100,
    remove_weights: bool = False,
    verbose: bool = True,
    state_dict: Optional[Dict[str, Any]] = None,
) -> List[str]:
    """Replace the layers of one step by product-quantised ones, in place.

    Args:
        layers_to_quantize: one regular expression per step; that of ``step`` is used.
        block_sizes_config, n_centroids_config: kind of layer -> ``(attribute, {value: setting})``, see ``get_param``.
        n_iter, eps, max_tentatives, verbose: of the k-means.
        remove_weights: leave layers out whose name holds ``weight``.
        state_dict: take centroids and assignments from here instead of computing them.

    Returns:
        Names of the layers replaced.
    """
    names = get_layers(model, layers_to_quantize[step], remove_weights=remove_weights)
    for name in names:
        module = attrgetter(name)(model)
        weight = module.weight.detach()
        block_size = get_param(module, name, block_sizes_config)
        n_centroids = get_param(module, name, n_centroids_config)
        quantizer = PQ(weight, block_size, n_centroids, n_iter, eps, max_tentatives, verbose)
        if state_dict is None:
            quantizer.encode()
            centroids, assignments = quantizer.centroids, quantizer.assignments
        else:
            centroids, assignments = state_dict[f"{name}.centroids"], state_dict[f"{name}.assignments"]
        attrsetter(name)(model, _quantized(module, centroids.contiguous(), assignments.contiguous()))
        size_tracker.update(weight, block_size, n_centroids)
    return names


def quantize_like_(
    model: nn.Module, state_dict: Mapping[str, Any], size_tracker: Optional["SizeTracker"] = None
) -> List[str]:
    """Give a model the product-quantised layers that a checkpoint of it has, in place, so that it can be loaded.

    Args:
        model: as it is built, or with some of these layers already.
        state_dict: of the quantised model; only the sizes of its tensors are used.
        size_tracker: is told of each layer.

    Returns:
        Names of the layers replaced.

    Raises:
        ValueError: centroids and assignments that cannot be those of the layer.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    names = []
    for key, centroids in state_dict.items():
        name = key[: -len(".centroids")] if key.endswith(".centroids") else ""
        assignments, module = state_dict.get(f"{name}.assignments"), modules.get(name)
        if assignments is None or not isinstance(module, (nn.Linear, nn.Embedding, nn.Conv2d)):
            continue
        weight = module.weight.detach()
        if centroids.dim() != 2 or assignments.shape != (weight.numel() // centroids.size(1),):
            raise ValueError(
                f"{name}: centroids {list(centroids.shape)} and assignments {list(assignments.shape)} are not those of "
                f"a weight {list(weight.shape)}"
            )
        blank = weight.new_zeros(centroids.shape), torch.zeros(assignments.shape, dtype=torch.long)
        attrsetter(name)(model, _quantized(module, blank[0], blank[1].to(weight.device)))
        if size_tracker is not None:
            size_tracker.update(weight, centroids.size(1), centroids.size(0))
        names.append(name)
    return names


def _quantized(module: nn.Module, centroids: torch.Tensor, assignments: torch.Tensor) -> nn.Module:
    kinds: Dict[Any, Tuple[Any, Tuple[str, ...]]] = {
        nn.Linear: (PQLinear, ("in_features", "out_features")),
        nn.Embedding: (PQEmbedding, ("num_embeddings", "embedding_dim", "padding_idx", "max_norm", "norm_type")),
        nn.Conv2d: (
            PQConv2d,
            ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"),
        ),
    }
    for kind, (quantized, names) in kinds.items():
        if isinstance(module, kind):
            arguments = {name: getattr(module, name) for name in names}
            if not isinstance(module, nn.Embedding):
                bias: Any = module.bias
                arguments["bias"] = bias.detach() if bias is not None else None
            result: nn.Module = quantized(centroids, assignments, **arguments).to(centroids.device)
            return result
    raise ValueError(f"Module {type(module).__name__} not yet supported for quantization")


def get_layers(model: nn.Module, filter_regexp: str, remove_weights: bool = False) -> List[str]:
    """Names of the layers with parameters that a regular expression matches, in order.

    Norms are left out, and so is the part ``.weight`` or ``.bias`` of parameter names.
    """
    names = {name.rsplit(".", 1)[0] for name, _ in model.named_parameters(remove_duplicate=False) if "." in name}
    modules = dict(model.named_modules(remove_duplicate=False))
    kept = [
        name for name in modules if name in names and isinstance(modules[name], (nn.Linear, nn.Embedding, nn.Conv2d))
    ]
    if remove_weights:
        kept = [name for name in kept if "weight" not in name]
    pattern = re.compile(filter_regexp)
    return [name for name in kept if pattern.search(name)]


def get_param(module: nn.Module, layer_name: str, param_config: Dict[str, Tuple[Any, Any]]) -> Any:
    """The setting for one layer.

    Args:
        param_config: kind of layer -> ``(attribute, {value: setting})``. The value of the module's attribute selects
            the setting; with attribute ``fuzzy_name`` the first value that occurs in ``layer_name`` does; with
            attribute ``*`` there is one setting for all. Value ``*`` stands for any other.

    Raises:
        KeyError: there is no setting for this layer.
    """
    kind = type(module).__name__
    if kind not in param_config:
        raise KeyError(f"Layer type {kind} not in config for module {module}")
    attribute, settings = param_config[kind]
    if attribute == "*":
        return settings
    if attribute == "fuzzy_name":
        for value, setting in settings.items():
            if str(value) in layer_name:
                return setting
    else:
        value = getattr(module, attribute, None)
        if value in settings:
            return settings[value]
    if "*" in settings:
        return settings["*"]
    raise KeyError(f"Parameter {attribute} of {layer_name} has no setting in {settings}")


class SizeTracker:
    """Keeps account of the memory that quantised layers need.

    Args:
        model: before anything is quantised.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.size_non_compressed_model = self.compute_size()
        self.size_non_quantized = self.size_non_compressed_model
        self.size_index = 0.0
        self.size_centroids = 0.0
        self.n_quantized_layers = 0

    def compute_size(self) -> float:
        """Megabytes of all parameters, as float32."""
        return sum(p.numel() * 4 / 1024 / 1024 for p in self.model.parameters())

    def update(self, W: torch.Tensor, block_size: int, n_centroids: int) -> None:
        """Count a layer whose weight was ``W`` as quantised."""
        bits_per_index = max(1, (n_centroids - 1).bit_length())
        self.size_index += bits_per_index * W.numel() / block_size / 8 / 1024 / 1024
        # Centroids are kept in 16 bits.
        self.size_centroids += n_centroids * block_size * 2 / 1024 / 1024
        self.size_non_quantized -= W.numel() * 4 / 1024 / 1024
        self.n_quantized_layers += 1

    def __repr__(self) -> str:
        size = self.size_index + self.size_centroids + self.size_non_quantized
        return (
            f"{self.n_quantized_layers} layers quantised: {self.size_non_compressed_model:.2f} MB became {size:.2f} MB "
            f"(indices {self.size_index:.2f}, centroids {self.size_centroids:.2f}, the rest "
            f"{self.size_non_quantized:.2f}), {self.size_non_compressed_model / max(size, 1e-9):.2f} times smaller"
        )


def attrsetter(*items: str) -> Callable[[Any, Any], None]:
    """``attrsetter("a.b")(obj, value)`` sets ``obj.a.b``; the counterpart of ``operator.attrgetter``."""

    def set_all(obj: Any, value: Any) -> None:
        for item in items:
            *path, last = item.split(".")
            target = attrgetter(".".join(path))(obj) if path else obj
            setattr(target, last, value)

    return set_all
