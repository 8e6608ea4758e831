"""The name of upstream's extension for GPUs; see ``alignment_train_cpu_binding``, which runs on all devices."""

from __future__ import annotations

from alignment_train_cpu_binding import alignment_train_cpu as alignment_train_cuda

__all__ = ["alignment_train_cuda"]
