"""Metrics and progress.

``lines``         the form of log lines
``meters``        running sums, averages, clocks, and the ordered dictionary that holds them
``metrics``       the one global set of aggregators that ``log_scalar`` and friends write to
``progress_bar``  metric lines on the console (simple, json, tqdm) and in tensorboard, wandb, ...
"""

from fairseq._lazy import attach

__getattr__, __dir__ = attach(__name__)
