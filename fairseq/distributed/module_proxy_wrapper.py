"""Reach the model inside a wrapper as if the wrapper were not there."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["ModuleProxyWrapper"]


class ModuleProxyWrapper(nn.Module):
    """Around a wrapped model (``DistributedDataParallel`` and the like, which keep it in ``module``).

    Attributes are looked for here, then in the wrapper, then in the model. State dictionaries are those of the model,
    so that checkpoints do not depend on how it was trained.

    Raises:
        AssertionError: the argument has no ``module``.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        if not hasattr(module, "module"):
            raise AssertionError("ModuleProxyWrapper expects input to wrap another module")
        self.module = module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            wrapper = super().__getattr__("module")
        try:
            return getattr(wrapper, name)
        except AttributeError:
            return getattr(wrapper.module, name)  # type: ignore[union-attr]

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """That of the model."""
        return self.module.module.state_dict(*args, **kwargs)  # type: ignore[operator, union-attr]

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Into the model."""
        return self.module.module.load_state_dict(*args, **kwargs)  # type: ignore[operator, union-attr]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)
