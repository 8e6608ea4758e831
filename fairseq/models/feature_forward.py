"""Which models can stop before their output layer, so that a loss may take that step itself.

The logits of a batch, ``(batch, length, vocab)``, are the largest tensor of a training step, and those at padded
positions are computed for nothing. A criterion that knows the features and the projection can go through the real
positions in pieces instead. That is only right where ``forward`` does nothing after ``extract_features`` but project,
so a ``forward`` has to say so (``ends_with_output_layer``); one that is overridden has not said it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn

from fairseq.utils.overrides import fast_paths_enabled, is_unhooked, package_class, uses_default_methods

__all__ = ["ends_with_output_layer", "feature_forward", "is_plain_softmax", "plain_softmax"]

MARK = "_ends_with_output_layer"
SOFTMAX_MARK = "_is_plain_softmax"
# Methods that run on the way to the features, and those for decoding step by step.
_CALLED = (
    "extract_features", "extract_features_scriptable", "forward_embedding", "buffered_future_mask",
    "arguments_without_attention", "forward_decoder", "reorder_incremental_state",
    "reorder_incremental_state_scripting", "set_beam_size",
)  # fmt: skip
Function = TypeVar("Function", bound=Callable[..., Any])


def ends_with_output_layer(function: Function, how: str = "") -> Function:
    """Mark a ``forward`` (or an ``output_layer`` that only calls ``output_projection``).

    Args:
        how: for a model's ``forward``: ``"extract_features"`` if the method of that name gives the features,
            ``"features_only"`` if ``forward(..., features_only=True)`` does. Decoders: the latter or empty.
    """
    setattr(function, MARK, how)
    return function


def plain_softmax(function: Function) -> Function:
    """Mark a ``get_normalized_probs`` that does what the base class does, and is there for TorchScript only."""
    setattr(function, SOFTMAX_MARK, True)
    return function


def is_plain_softmax(function: Any) -> bool:
    """Whether a ``get_normalized_probs`` is marked so."""
    return getattr(function, SOFTMAX_MARK, False) is True


def has_plain_softmax(cls: type, contract: type) -> bool:
    """Whether instances of ``cls`` make probabilities as ``contract`` (model or decoder) does."""
    names = ("get_normalized_probs", "get_normalized_probs_scriptable")
    found = [(getattr(cls, name, None), getattr(contract, name)) for name in names]
    return all(function is default or is_plain_softmax(function) for function, default in found)


def _mark_of(owner: Any, name: str) -> str | None:
    """The mark of a method as the package wrote it; ``None`` if the method is not marked."""
    return getattr(getattr(package_class(owner), name, None), MARK, None)


def feature_forward(model: Any) -> tuple[Callable[..., tuple[Tensor, Any]], nn.Linear] | None:
    """How to get features from a model, and the projection that its logits are made with.

    Returns:
        ``(forward, projection)``, where ``forward(**net_input)`` returns ``((batch, length, dim), extra)``. ``None``
        for wrapped models (their wrapper must see the call), and those with an own way to make or use logits.
    """
    from fairseq.models.fairseq_model import BaseFairseqModel

    decoder = getattr(model, "decoder", None)
    if not fast_paths_enabled() or not isinstance(model, BaseFairseqModel) or not isinstance(decoder, nn.Module):
        return None
    how = _mark_of(model, "forward")
    projection = getattr(decoder, "output_projection", None)
    plain = (
        how
        and _mark_of(decoder, "forward") is not None
        and _mark_of(decoder, "output_layer") is not None
        and getattr(decoder, "adaptive_softmax", None) is None
        and type(projection) is nn.Linear
        and uses_default_methods(model, package_class(model), _CALLED)
        and uses_default_methods(decoder, package_class(decoder), _CALLED)
        and is_unhooked(projection)
    )
    if not plain:
        return None
    # A language model hands its arguments to the decoder, and some are of that decoder's forward only.
    hands_on = not hasattr(model, "encoder") and _mark_of(decoder, "forward") == "features_only"
    if how == "features_only" or hands_on:
        # The attention that comes with the features is not used.
        silent: dict[str, Any] = getattr(model, "arguments_without_attention", dict)()
        return lambda **inputs: model(**{**silent, **inputs}, features_only=True), projection  # type: ignore[return-value]
    if getattr(model, "_compiled_call_impl", None) is not None:
        return None  # only calls of the model itself run what was compiled
    return model.extract_features, projection  # type: ignore[return-value]
