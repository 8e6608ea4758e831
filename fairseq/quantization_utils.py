"""Quantisation of models from the command line: ``--quant-noise-scalar`` and ``--quantization-config-path``."""

import logging
from typing import Any, Dict, Mapping, Optional

from torch import nn

from fairseq import utils
from fairseq.modules.quantization import pq, quantization_options, scalar

__all__ = ["Quantizer", "quantize_model_scalar"]

logger = logging.getLogger(__name__)
_PROGRESS = ("quantization_step", "last_epoch", "last_update")
_STATE = (
    "n_centroids_config", "block_sizes_config", "layers_to_quantize",
    "epoch_schedule", "update_schedule", "quantization_step",
)  # fmt: skip


def quantize_model_scalar(model: nn.Module, model_cfg: Any) -> nn.Module:
    """Make a model train with int8 noise if ``model_cfg.quant_noise_scalar`` is above 0; returns the model."""
    share = getattr(model_cfg, "quant_noise_scalar", 0) or 0
    if share > 0:
        scalar.quantize_model_(model, p=share, bits=8, update_step=1000)
    return model


class Quantizer:
    """Quantises one group of layers after the other while training goes on.

    Args:
        config_path: YAML file, see ``parse_config_yaml``; empty for the defaults.
        max_epoch, max_update: length of the run, which is divided evenly among the groups; one of them is 0.

    Raises:
        AssertionError: the length cannot be divided evenly, or neither is given.
    """

    def __init__(self, config_path: str, max_epoch: int, max_update: int) -> None:
        settings: Dict[str, Any] = {}
        if config_path:
            import yaml

            with open(config_path, encoding="utf-8") as file:
                settings = yaml.safe_load(file) or {}
        config = quantization_options.parse_config_yaml(settings)
        self.n_centroids_config = config["n_centroids_config"]
        self.block_sizes_config = config["block_sizes_config"]
        self.layers_to_quantize = config["layers_to_quantize"]
        steps = len(self.layers_to_quantize)
        self.epoch_schedule: Optional[int] = None
        self.update_schedule: Optional[int] = None
        if max_epoch > 0:
            if max_epoch % steps != 0:
                raise AssertionError(f"for iterative PQ, --max-epoch ({max_epoch}) must be a multiple of {steps} steps")
            self.epoch_schedule = max_epoch // steps
        elif max_update > 0:
            if max_update % steps != 0:
                raise AssertionError(
                    f"for iterative PQ, --max-update ({max_update}) must be a multiple of {steps} steps"
                )
            self.update_schedule = max_update // steps
        else:
            raise AssertionError("iterative PQ needs --max-epoch or --max-update")
        self.quantization_step = 0
        # Where the last step was taken: a run that goes on begins the same epoch, and sets the same update, again.
        self.last_epoch = self.last_update = -1
        self.trainer: Any = None
        self.size_tracker: Any = None

    def set_trainer(self, trainer: Any) -> None:
        """Say whose model is quantised."""
        self.trainer = trainer
        self.size_tracker = pq.SizeTracker(trainer.get_model())

    def step(self) -> None:
        """Quantise the next group; the trainer's optimizer begins anew."""
        if self.quantization_step >= len(self.layers_to_quantize):
            return
        logger.info("quantizing model (step=%d; layers=%s)", self.quantization_step, self._pattern())
        common = getattr(getattr(self.trainer, "cfg", None), "common", None)
        # A run that goes on must draw the same first centroids as one that was never stopped.
        with utils.set_torch_seed(getattr(common, "seed", 1) + self.quantization_step):
            names = pq.quantize_model_(
                self.trainer.get_model(), self.size_tracker, self.layers_to_quantize, self.block_sizes_config,
                self.n_centroids_config, step=self.quantization_step,
            )  # fmt: skip
        logger.info("quantized layers: %s", names)
        logger.info(self.size_tracker)
        self.quantization_step += 1
        self.trainer.reinitialize()

    def _pattern(self) -> str:
        return str(self.layers_to_quantize[self.quantization_step])

    def begin_epoch(self, epoch: int) -> None:
        """To be called at the beginning of each epoch, counted from 1."""
        # The first group is quantised at once, not after its share of the run.
        due = self.epoch_schedule is not None and epoch > 0 and (epoch - 1) % self.epoch_schedule == 0
        if due and epoch > self.last_epoch:
            self.last_epoch = epoch
            self.step()

    def step_update(self, num_updates: int) -> None:
        """To be called after each update."""
        due = self.update_schedule is not None and num_updates >= 0 and num_updates % self.update_schedule == 0
        if due and num_updates > self.last_update:
            self.last_update = num_updates
            self.step()

    def notes(self) -> Dict[str, int]:
        """How far the schedule is, to be kept beside a checkpoint; the run's options say the rest."""
        return {name: getattr(self, name) for name in _PROGRESS}

    def resume(self, notes: Dict[str, Any], model: nn.Module, weights: Mapping[str, Any]) -> None:
        """Go on from :meth:`notes` with a model that is to be filled with ``weights``: quantised layers are put in."""
        for name in _PROGRESS:
            setattr(self, name, int(notes.get(name, getattr(self, name))))
        pq.quantize_like_(model, weights, self.size_tracker)

    def state_dict(self) -> Dict[str, Any]:
        """Schedule and settings."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        for name in _STATE:
            setattr(self, name, state_dict[name])
