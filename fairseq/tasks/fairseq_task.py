"""What a task is: data, dictionaries, and how a model is trained, evaluated and asked for output on them."""

import logging
import os
import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any, Optional

import torch
from numpy.typing import NDArray

from fairseq.data.batching.size_limits import report_ignored
from fairseq.data.data_utils import numpy_seed
from fairseq.data.dictionary import Dictionary
from fairseq.data.fairseq_dataset import FairseqDataset
from fairseq.data.iterators import EpochBatchIterator

__all__ = ["FairseqTask", "LegacyFairseqTask", "StatefulContainer"]

logger = logging.getLogger(__name__)


class StatefulContainer:
    """State of a task that belongs into checkpoints; entries are made when they are first read.

    ``container.add_factory("vocabulary", load)`` makes ``container.vocabulary`` available. An entry that a checkpoint
    brought along is taken instead of calling its factory.
    """

    def __init__(self) -> None:
        self._state: dict[str, Any] = {}
        self._factories: dict[str, Callable[[], Any]] = {}

    def add_factory(self, name: str, factory: Callable[[], Any]) -> None:
        """Say how to make the entry ``name``."""
        self._factories[name] = factory

    def merge_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take entries from a checkpoint."""
        self._state.update(state_dict)

    @property
    def state_dict(self) -> dict[str, Any]:
        """The entries made so far."""
        return self._state

    def __getattr__(self, name: str) -> Any:
        # Unpickling and copying look for attributes before __init__ has run.
        factories = self.__dict__.get("_factories", {})
        state = self.__dict__.get("_state", {})
        if name not in state and name in factories:
            state[name] = factories[name]()
        if name in state:
            return state[name]
        raise AttributeError(f"Task state has no factory for attribute {name}")


class FairseqTask:
    """Base of all tasks.

    A task is made by ``setup_task(cfg)``, builds its model and criterion, loads data sets by split name, and does the
    training and validation steps. A subclass implements :meth:`load_dataset` at least; everything else has a default.

    Attributes:
        cfg: the task section of the configuration.
        datasets: split name -> data set, filled by :meth:`load_dataset`.
        dataset_to_epoch_iter: data set -> its batch iterator, for data sets whose batches stay the same.
        state: what is saved with checkpoints, see :class:`StatefulContainer`.
    """

    cfg: Any
    datasets: dict[str, Any]
    dataset_to_epoch_iter: dict[Any, Any]
    state: StatefulContainer

    @classmethod
    def add_args(cls, parser: Any) -> None:
        """Add the task's options to an argument parser: those of its config class."""
        dataclass = getattr(cls, "__dataclass", None)
        if dataclass is not None:
            from fairseq.dataclass.utils import gen_parser_from_dataclass

            gen_parser_from_dataclass(parser, dataclass())

    @staticmethod
    def logging_outputs_can_be_summed(criterion: Any) -> bool:
        """Whether logging outputs of workers may be added up before :meth:`reduce_metrics`; faster if they may."""
        return criterion.logging_outputs_can_be_summed()

    def __init__(self, cfg: Any, **kwargs: Any) -> None:
        self.cfg = cfg
        self.datasets = {}
        self.dataset_to_epoch_iter = {}
        self.state = StatefulContainer()

    @classmethod
    def setup_task(cls, cfg: Any, **kwargs: Any) -> "FairseqTask":
        """Make the task; subclasses load their dictionaries here."""
        return cls(cfg, **kwargs)

    # ------------------------------------------------------------------ dictionaries
    @classmethod
    def load_dictionary(cls, filename: str) -> Dictionary:
        """Read a dictionary file."""
        return Dictionary.load(filename)

    @classmethod
    def build_dictionary(
        cls,
        filenames: Sequence[str],
        workers: int = 1,
        threshold: int = -1,
        nwords: int = -1,
        padding_factor: int = 8,
    ) -> Dictionary:
        """Count the words of text files.

        Args:
            filenames: tokenized text.
            workers: processes.
            threshold: drop words seen less often.
            nwords: keep at most so many entries, special symbols included; -1 for all.
            padding_factor: fill up to a multiple of it, which some GPUs multiply faster.
        """
        from fairseq import tokenizer

        dictionary = Dictionary()
        for filename in filenames:
            Dictionary.add_file_to_dictionary(filename, dictionary, tokenizer.tokenize_line, workers)
        dictionary.finalize(threshold=threshold, nwords=nwords, padding_factor=padding_factor)
        return dictionary

    @property
    def source_dictionary(self) -> Optional[Dictionary]:
        """The dictionary of the input, if there is one."""
        return None

    @property
    def target_dictionary(self) -> Optional[Dictionary]:
        """The dictionary of the output, if there is one."""
        return None

    # ------------------------------------------------------------------ data
    def has_sharded_data(self, split: str) -> bool:
        """Whether epochs use different files, so that the split has to be loaded again for each."""
        return os.pathsep in (getattr(self.cfg, "data", None) or "")

    def load_dataset(self, split: str, combine: bool = False, task_cfg: Any = None, **kwargs: Any) -> None:
        """Load a split into ``self.datasets[split]``.

        Args:
            split: name, e.g. ``train``, ``valid``, ``test``.
            combine: join ``split``, ``split1``, ... where they exist.
            task_cfg: a config section to use instead of the task's own.
            kwargs: ``epoch`` and others; unknown ones have to be accepted.
        """
        raise NotImplementedError

    def dataset(self, split: str) -> Any:
        """A loaded split.

        Raises:
            KeyError: it is not loaded.
            TypeError: it is no data set.
        """
        if split not in self.datasets:
            raise KeyError(f"Dataset not loaded: {split}")
        if not isinstance(self.datasets[split], FairseqDataset):
            raise TypeError("Datasets are expected to be of type FairseqDataset")
        return self.datasets[split]

    def filter_indices_by_size(
        self,
        indices: NDArray[Any],
        dataset: Any,
        max_positions: Any = None,
        ignore_invalid_inputs: bool = False,
    ) -> NDArray[Any]:
        """Drop samples that are longer than the model can take.

        Raises:
            Exception: there are some, and ``ignore_invalid_inputs`` is not set.
        """
        kept, ignored = dataset.filter_indices_by_size(indices, max_positions)
        report_ignored(ignored, dataset, max_positions, skip=ignore_invalid_inputs)
        return kept

    def can_reuse_epoch_itr(self, dataset: Any) -> bool:
        """Whether the batches of ``dataset`` may be kept for the next epoch."""
        return getattr(dataset, "can_reuse_epoch_itr_across_epochs", False)

    def get_batch_iterator(
        self,
        dataset: Any,
        max_tokens: Optional[int] = None,
        max_sentences: Optional[int] = None,
        max_positions: Any = None,
        ignore_invalid_inputs: bool = False,
        required_batch_size_multiple: int = 1,
        seed: int = 1,
        num_shards: int = 1,
        shard_id: int = 0,
        num_workers: int = 0,
        epoch: int = 1,
        data_buffer_size: int = 0,
        disable_iterator_cache: bool = False,
        skip_remainder_batch: bool = False,
        grouped_shuffling: bool = False,
        update_epoch_batch_itr: bool = False,
    ) -> Any:
        """The mini-batches of a data set, epoch by epoch.

        Args:
            dataset: what to batch.
            max_tokens, max_sentences: limits per batch.
            max_positions: longest sample, a number or one per side.
            ignore_invalid_inputs: skip longer ones instead of failing.
            required_batch_size_multiple: see :func:`fairseq.data.data_utils.batch_by_size`.
            seed: of order and shuffling; the epoch is added to it.
            num_shards, shard_id: data-parallel workers, and which one this is.
            num_workers: data-loader processes.
            epoch: the epoch to begin with.
            data_buffer_size: batches to read ahead on a thread.
            disable_iterator_cache: make a new iterator even if there is one.
            skip_remainder_batch: leave out the last batch of each epoch.
            grouped_shuffling: keep batches of one step together when shuffling.
            update_epoch_batch_itr: make new batches for every epoch.

        Returns:
            an :class:`fairseq.data.iterators.EpochBatchIterator`.
        """
        reusable = not disable_iterator_cache and not update_epoch_batch_itr and self.can_reuse_epoch_itr(dataset)
        logger.info("can_reuse_epoch_itr = %s", reusable)
        if reusable and dataset in self.dataset_to_epoch_iter:
            logger.debug("reusing EpochBatchIterator for epoch %s", epoch)
            return self.dataset_to_epoch_iter[dataset]
        if not isinstance(dataset, FairseqDataset):
            raise AssertionError(f"expected a FairseqDataset, got {type(dataset).__name__}")

        def make_batches(dataset: Any, epoch: int) -> Any:
            logger.info("creating new batches for epoch %s", epoch)
            with numpy_seed(seed + epoch):
                indices = dataset.ordered_indices()
            if max_positions is not None:
                indices = self.filter_indices_by_size(indices, dataset, max_positions, ignore_invalid_inputs)
            return dataset.batch_by_size(
                indices,
                max_tokens=max_tokens,
                max_sentences=max_sentences,
                required_batch_size_multiple=required_batch_size_multiple,
            )

        dataset.set_epoch(epoch)
        reuse_dataloader = getattr(self.cfg, "reuse_dataloader", True)
        logger.info("reuse_dataloader = %s", reuse_dataloader)
        logger.info("rebuild_batches = %s", update_epoch_batch_itr)
        if update_epoch_batch_itr:
            logger.info("batches will be rebuilt for each epoch")
        iterator = EpochBatchIterator(
            dataset=dataset,
            collate_fn=dataset.collater,
            batch_sampler=make_batches if update_epoch_batch_itr else make_batches(dataset, epoch),
            buffer_size=data_buffer_size,
            epoch=epoch,
            grouped_shuffling=grouped_shuffling,
            num_shards=num_shards,
            num_workers=num_workers,
            reuse_dataloader=reuse_dataloader,
            seed=seed,
            shard_id=shard_id,
            skip_remainder_batch=skip_remainder_batch,
            persistent_workers=getattr(self.cfg, "persistent_workers", True),
        )
        if reusable:
            self.dataset_to_epoch_iter[dataset] = iterator
        return iterator

    # ------------------------------------------------------------------ model and criterion
    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model of the configuration's model section."""
        from fairseq import models

        model = models.build_model(cfg, self, from_checkpoint)
        if (getattr(cfg, "quant_noise_scalar", 0) or 0) > 0:
            from fairseq import quantization_utils

            model = quantization_utils.quantize_model_scalar(model, cfg)
        return model

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the loss of the configuration's criterion section."""
        from fairseq import criterions

        return criterions.build_criterion(cfg, self, from_checkpoint=from_checkpoint)

    # ------------------------------------------------------------------ generation
    def build_generator(
        self,
        models: Sequence[Any],
        args: Any,
        seq_gen_cls: Any = None,
        extra_gen_cls_kwargs: Optional[dict[str, Any]] = None,
        prefix_allowed_tokens_fn: Optional[Callable[[int, torch.Tensor], list[int]]] = None,
    ) -> Any:
        """Build what generates (or, with ``score_reference``, scores) output.

        Args:
            models: the ensemble.
            args: generation options; anything with attributes, missing ones have their defaults.
            seq_gen_cls: generator class, instead of the one that fits the options.
            extra_gen_cls_kwargs: further arguments for it.
            prefix_allowed_tokens_fn: ``(sentence number, tokens so far) -> allowed next tokens``.

        Raises:
            ValueError: options ask for more than one search strategy.
        """
        from fairseq.tasks._generation import build_generator

        return build_generator(
            self.target_dictionary, models, args, seq_gen_cls, extra_gen_cls_kwargs, prefix_allowed_tokens_fn
        )

    def inference_step(
        self, generator: Any, models: Sequence[Any], sample: Any, prefix_tokens: Any = None, constraints: Any = None
    ) -> Any:
        """Generate output for a mini-batch."""
        with torch.no_grad():
            return generator.generate(models, sample, prefix_tokens=prefix_tokens, constraints=constraints)

    def build_dataset_for_inference(
        self, src_tokens: Sequence[torch.Tensor], src_lengths: Sequence[int], **kwargs: Any
    ) -> Any:
        """A data set of given inputs, for interactive use."""
        raise NotImplementedError

    def get_interactive_tokens_and_lengths(
        self, lines: Sequence[str], encode_fn: Callable[[str], str]
    ) -> tuple[list[torch.Tensor], list[int]]:
        """Token numbers and lengths of typed lines."""
        dictionary = self.source_dictionary
        if dictionary is None:
            raise NotImplementedError(f"{type(self).__name__} has no source dictionary to encode text with")
        tokens = [dictionary.encode_line(encode_fn(line), add_if_not_exist=False).long() for line in lines]
        return tokens, [len(item) for item in tokens]

    def build_tokenizer(self, args: Any) -> Any:
        """The tokenizer of the options, or ``None``."""
        from fairseq.data import encoders

        return encoders.build_tokenizer(args)

    def build_bpe(self, args: Any) -> Any:
        """The subword encoder of the options, or ``None``."""
        from fairseq.data import encoders

        return encoders.build_bpe(args)

    # ------------------------------------------------------------------ steps
    def train_step(
        self, sample: Any, model: Any, criterion: Any, optimizer: Any, update_num: int, ignore_grad: bool = False
    ) -> tuple[Any, Any, dict[str, Any]]:
        """Forward and backward for one mini-batch.

        Args:
            sample: a mini-batch.
            model: the model, put in training mode here.
            criterion: the loss.
            optimizer: does the backward pass, as it may scale the loss.
            update_num: updates done so far.
            ignore_grad: the batch is a stand-in: multiply its loss by 0.

        Returns:
            loss, sample size (the gradient's denominator), values to log.
        """
        from fairseq.optim.amp_optimizer import AMPOptimizer

        model.train()
        model.set_num_updates(update_num)
        with (
            torch.autograd.profiler.record_function("forward"),
            torch.autocast("cuda", enabled=isinstance(optimizer, AMPOptimizer) and torch.cuda.is_available()),
        ):
            loss, sample_size, log = criterion(model, sample)
        loss = loss * 0 if ignore_grad else loss
        with torch.autograd.profiler.record_function("backward"):
            optimizer.backward(loss)
        return loss, sample_size, log

    def valid_step(self, sample: Any, model: Any, criterion: Any) -> tuple[Any, Any, dict[str, Any]]:
        """Loss, sample size and values to log of a mini-batch, without gradients."""
        model.eval()
        with torch.no_grad():
            return criterion(model, sample)

    def optimizer_step(self, optimizer: Any, model: Any, update_num: int) -> None:
        """Apply the gradients."""
        optimizer.step()

    def begin_epoch(self, epoch: int, model: Any) -> None:
        """Called before each training epoch."""

    def begin_valid_epoch(self, epoch: int, model: Any) -> None:
        """Called before each validation."""

    # ------------------------------------------------------------------ metrics
    def aggregate_logging_outputs(self, logging_outputs: Sequence[dict[str, Any]], criterion: Any) -> dict[str, Any]:
        """Deprecated form of :meth:`reduce_metrics`; still called where a plugin overrides it."""
        from fairseq import utils
        from fairseq.logging import metrics

        utils.deprecation_warning("aggregate_logging_outputs is deprecated: implement reduce_metrics in its place.")
        with metrics.aggregate() as aggregator:
            self.reduce_metrics(logging_outputs, criterion)
            return aggregator.get_smoothed_values()

    def reduce_metrics(self, logging_outputs: Sequence[dict[str, Any]], criterion: Any) -> None:
        """Log what all workers' mini-batches gave: counts and speed here, the rest by the criterion."""
        from fairseq import utils
        from fairseq.logging import metrics

        old_style = type(self).aggregate_logging_outputs is not FairseqTask.aggregate_logging_outputs
        if old_style:
            utils.deprecation_warning(
                f"{type(self).__name__} aggregates its logs by aggregate_logging_outputs, which is deprecated: "
                "implement reduce_metrics in its place."
            )
            result = self.aggregate_logging_outputs(logging_outputs, criterion)
            for key, value in result.items():
                metrics.log_scalar(key, value)
            return
        words = _total("ntokens", logging_outputs, "wpb or wps")
        if words is not None:
            metrics.log_scalar("wpb", words, priority=180, round=1)
            metrics.log_speed("wps", words, priority=90, round=1)
        sentences = _total("nsentences", logging_outputs, "bsz")
        if sentences is not None:
            metrics.log_scalar("bsz", sentences, priority=190, round=1)
        criterion.__class__.reduce_metrics(logging_outputs)

    # ------------------------------------------------------------------ state and limits
    def state_dict(self) -> dict[str, Any]:
        """What checkpoints keep of the task."""
        return {} if self.state is None else self.state.state_dict

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave."""
        if self.state is not None:
            self.state.merge_state_dict(state_dict)

    def max_positions(self) -> Any:
        """Longest samples the task allows, in the form of the data sets' ``size``; ``None`` for no limit."""
        return None


def _total(key: str, logging_outputs: Sequence[dict[str, Any]], purpose: str) -> Any:
    """The sum of what the criterion logged under ``key``; ``None``, and a warning, if it logs no such thing."""
    values = [log[key] for log in logging_outputs if key in log]
    if not values:
        warnings.warn(f"{key} not found in Criterion logging outputs, cannot log {purpose}", stacklevel=3)
        return None
    return sum(values)


class LegacyFairseqTask(FairseqTask):
    """A task without config class: it gets the flat namespace of all options, as ``self.args``; ``cfg`` is ``None``."""

    def __init__(self, args: Namespace) -> None:
        super().__init__(None)
        self.args = args
        self.datasets = {}
        self.dataset_to_epoch_iter = {}

    @classmethod
    def setup_task(cls, args: Namespace, **kwargs: Any) -> "LegacyFairseqTask":  # type: ignore[override]
        """Make the task; subclasses load their dictionaries here."""
        return cls(args, **kwargs)

    def has_sharded_data(self, split: str) -> bool:
        return os.pathsep in (getattr(self.args, "data", None) or "")

    def build_model(self, args: Any, from_checkpoint: bool = False) -> Any:
        return super().build_model(args, from_checkpoint)

    def build_criterion(self, args: Any, from_checkpoint: bool = False) -> Any:
        return super().build_criterion(args, from_checkpoint)
