"""Quantisation-aware training: ``scalar`` (int8 and its like) and ``pq`` (iterative product quantisation)."""
