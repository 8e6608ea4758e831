"""Batches: where they come from, what idle workers get instead, and how they reach the device."""

from __future__ import annotations

import logging
from typing import Any

from fairseq.compat.signatures import fitting
from fairseq.trainer.draws import resume_draws, state_of_draws

__all__ = ["BatchSource"]

logger = logging.getLogger("fairseq.trainer")

# The dataset may only be read inside loader workers: the first batch that arrives becomes the dummy.
LATER = "DUMMY"


class BatchSource:
    """Iterators over the task's data, and the dummy batch that keeps collective calls of all workers in step."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.dummy: Any = None
        # Which sentences share a batch depends on the epoch in which the batches were made, and they are kept for
        # later epochs. A resumed run makes them as that epoch did, so that it goes on as if it had never stopped.
        self.made_in_epoch: int | None = None
        self._resumed_from: int | None = None
        self._resumed_order: bool | None = None
        self._resumed_draws: Any = None
        self._iterator: Any = None

    def notes(self) -> dict[str, Any]:
        """What a resumed run must know to make the same batches in the same order."""
        found: dict[str, Any] = {}
        if self.made_in_epoch is not None:
            found["batches_made_in_epoch"] = self.made_in_epoch
        kind = getattr(self._iterator, "kind_of_order", None)
        if kind is not None:
            found["order_is_shuffled"] = kind
        found["draws"] = state_of_draws()
        return found

    def resume(self, notes: dict[str, Any]) -> None:
        """Make the next batches as a run with these notes made them; without any (upstream): as the current epoch."""
        epoch, kind = notes.get("batches_made_in_epoch"), notes.get("order_is_shuffled")
        self._resumed_from = epoch if isinstance(epoch, int) and epoch > 0 else None
        self._resumed_order = kind if isinstance(kind, bool) else None
        self._resumed_draws = notes.get("draws")

    def next_epoch_itr(self, epoch_itr: Any, **order: Any) -> Any:
        """``epoch_itr.next_epoch_itr(**order)``; data of a resumed run then draw what they would have drawn."""
        saved, self._resumed_draws = self._resumed_draws, None
        if saved is None:
            return epoch_itr.next_epoch_itr(**order)
        if epoch_itr.iterations_in_epoch == 0:
            # A run that goes on makes the dummy batch of the new epoch, then the loader, which draws a seed.
            resume_draws(saved)
            self.set_dummy(epoch_itr.first_batch)
            return epoch_itr.next_epoch_itr(**order)
        iterator = epoch_itr.next_epoch_itr(**order)
        resume_draws(saved)
        return iterator

    def _epoch_to_make(self, epoch: int, dataset: Any, kept: bool) -> int:
        first, self._resumed_from = self._resumed_from, None
        if first is None or first > epoch:
            return epoch  # nothing to go on from, or --reset-dataloader went back to the beginning
        kept = kept and not self.trainer.cfg.dataset.update_epoch_batch_itr
        return first if kept and self.trainer.task.can_reuse_epoch_itr(dataset) else epoch

    def train_iterator(
        self,
        epoch: int,
        combine: bool = True,
        load_dataset: bool = True,
        data_selector: Any = None,
        shard_batch_itr: bool = True,
        disable_iterator_cache: bool = False,
    ) -> Any:
        """The iterator of one epoch; see ``Trainer.get_train_iterator``."""
        trainer = self.trainer
        cfg, task = trainer.cfg, trainer.task
        if load_dataset:
            logger.info("loading train data for epoch %s", epoch)
            more = fitting(
                task.load_dataset, epoch=epoch, combine=combine, data_selector=data_selector, tpu=trainer.tpu
            )
            task.load_dataset(cfg.dataset.train_subset, **more)
        dataset = task.dataset(cfg.dataset.train_subset)
        epoch = self._epoch_to_make(epoch, dataset, kept=not disable_iterator_cache)
        seed = cfg.common.seed + epoch if cfg.dataset.update_ordered_indices_seed else cfg.common.seed
        iterator = task.get_batch_iterator(
            dataset,
            **fitting(
                task.get_batch_iterator,
                max_tokens=cfg.dataset.max_tokens,
                max_sentences=cfg.dataset.batch_size,
                max_positions=self._max_positions(cfg.dataset.max_tokens),
                ignore_invalid_inputs=True,
                required_batch_size_multiple=cfg.dataset.required_batch_size_multiple,
                seed=seed,
                num_shards=trainer.data_parallel_world_size if shard_batch_itr else 1,
                shard_id=trainer.data_parallel_rank if shard_batch_itr else 0,
                num_workers=cfg.dataset.num_workers,
                epoch=epoch,
                data_buffer_size=cfg.dataset.data_buffer_size,
                disable_iterator_cache=disable_iterator_cache,
                skip_remainder_batch=cfg.optimization.skip_remainder_batch,
                grouped_shuffling=cfg.dataset.grouped_shuffling,
                update_epoch_batch_itr=cfg.dataset.update_epoch_batch_itr,
            ),
        )
        if iterator is not self._iterator:
            self._iterator, self.made_in_epoch = iterator, epoch
            if self._resumed_order is not None and hasattr(iterator, "continue_order"):
                iterator.continue_order(self._resumed_order)
            self._resumed_order = None
        self.set_dummy(iterator.first_batch)
        return iterator

    def valid_iterator(self, subset: str, disable_iterator_cache: bool = False) -> Any:
        """The iterator over a validation subset."""
        trainer = self.trainer
        cfg = trainer.cfg
        make = trainer.task.get_batch_iterator
        iterator = make(
            trainer.task.dataset(subset),
            **fitting(
                make,
                max_tokens=cfg.dataset.max_tokens_valid,
                max_sentences=cfg.dataset.batch_size_valid,
                max_positions=self._max_positions(),
                ignore_invalid_inputs=cfg.dataset.skip_invalid_size_inputs_valid_test,
                required_batch_size_multiple=cfg.dataset.required_batch_size_multiple,
                seed=cfg.common.seed,
                num_shards=trainer.data_parallel_world_size,
                shard_id=trainer.data_parallel_rank,
                num_workers=cfg.dataset.num_workers,
                # Always epoch 1: validation batches are the same each time.
                epoch=1,
                data_buffer_size=cfg.dataset.data_buffer_size,
                disable_iterator_cache=disable_iterator_cache,
                skip_remainder_batch=False,
            ),
        )
        self.set_dummy(iterator.first_batch)
        return iterator

    def _max_positions(self, *limits: Any) -> Any:
        from fairseq import utils

        return utils.resolve_max_positions(
            self.trainer.task.max_positions(), self.trainer.get_model().max_positions(), *limits
        )

    def set_dummy(self, batch: Any) -> None:
        """Remember a batch for workers that have none of their own."""
        self.dummy = batch

    def prepare(self, sample: Any) -> tuple[Any, bool]:
        """Put a batch on the device, in the right precision.

        Returns:
            ``(batch, is_dummy)``: an empty batch is replaced by the dummy, which must not count.

        Raises:
            RuntimeError: a dummy is needed before any batch was seen, or is empty itself.
        """
        from fairseq import utils

        if isinstance(sample, str) and sample == LATER:
            raise Exception(
                "Trying to use an uninitialized 'dummy' batch: this worker has no batch at all. There are fewer "
                "batches than workers; make batches smaller (--max-tokens, --batch-size) or train with fewer workers."
            )
        if sample is None or len(sample) == 0:
            if self.dummy is None or len(self.dummy) == 0:
                raise RuntimeError(f"Invalid dummy batch: {self.dummy}; the training data has no batch at all")
            sample, _ = self.prepare(self.dummy)
            return sample, True
        trainer = self.trainer
        early = trainer.cfg.common.on_cpu_convert_precision
        if early:
            sample = trainer.precision.convert_sample(sample)
        if trainer.cuda:
            sample = utils.move_to_cuda(sample)
        if not early:
            sample = trainer.precision.convert_sample(sample)
        if isinstance(self.dummy, str) and self.dummy == LATER:
            self.dummy = sample
        return sample, False
