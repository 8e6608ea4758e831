"""k-means over the columns of a matrix.

Shapes in this file:  D = block size, N = number of blocks, K = number of centroids
"""

import logging
import os
import random
from typing import List

import torch
from torch import Tensor

from fairseq.serialization.read import read_checkpoint

__all__ = ["EM", "EmptyClusterResolveError"]

logger = logging.getLogger(__name__)
# Distances are computed for this many numbers at once.
_CHUNK = 1 << 24


class EmptyClusterResolveError(Exception):
    """Empty clusters remained after all attempts."""


class EM:
    """Quantise the columns of ``W``.

    Args:
        W: ``(D, N)``.
        n_centroids: K.
        n_iter: iterations of :meth:`step`.
        eps: how far the halves of a split cluster are moved apart.
        max_tentatives: attempts to fill empty clusters.
        verbose: log the error after each iteration.
    """

    def __init__(
        self,
        W: Tensor,
        n_centroids: int = 256,
        n_iter: int = 20,
        eps: float = 1e-6,
        max_tentatives: int = 30,
        verbose: bool = True,
    ) -> None:
        self.W, self.n_centroids = W, n_centroids
        self.n_iter, self.max_tentatives, self.eps = n_iter, max_tentatives, eps
        self.verbose = verbose
        self.centroids = torch.empty(0)
        self.assignments = torch.empty(0, dtype=torch.long)
        self.objective: List[float] = []

    def initialize_centroids(self) -> None:
        """Take columns at random; with repetition if there are too few."""
        count = self.W.size(1)
        index = torch.randint(count, (self.n_centroids,)) if count < self.n_centroids else torch.randperm(count)
        self.centroids = self.W[:, index[: self.n_centroids].to(self.W.device)].t().clone()

    def step(self, i: int) -> None:
        """Assign every column to its nearest centroid, then move the centroids to the means (iteration ``i``)."""
        self.assign()
        sums = torch.zeros_like(self.centroids).index_add_(0, self.assignments, self.W.t())
        counts = torch.bincount(self.assignments, minlength=self.n_centroids).unsqueeze(1)
        self.centroids = torch.where(counts > 0, sums / counts.clamp(min=1), self.centroids)
        error = (self.W - self.centroids[self.assignments].t()).norm(p=2)
        self.objective.append(float(error))
        if self.verbose:
            logger.info("iteration %d: error %.6g", i, self.objective[-1])

    def resolve_empty_clusters(self) -> None:
        """Give each empty cluster half of the largest one.

        Raises:
            EmptyClusterResolveError: after ``max_tentatives`` attempts some are still empty.
        """
        for _ in range(self.max_tentatives):
            counts = torch.bincount(self.assignments, minlength=self.n_centroids)
            empty = (counts == 0).nonzero().flatten().tolist()
            if not empty:
                return
            for cluster in empty:
                largest = int(counts.argmax())
                shift = torch.randn_like(self.centroids[0]) * self.eps
                self.centroids[cluster] = self.centroids[largest] + shift
                self.centroids[largest] -= shift
                counts[largest] //= 2
                counts[cluster] = counts[largest]
            self.assignments = self._nearest()
        raise EmptyClusterResolveError(f"{len(empty)} of {self.n_centroids} clusters are still empty")

    def compute_distances(self) -> Tensor:
        """Distance of every centroid to every column, ``(K, N)``."""
        return torch.cdist(self.centroids, self.W.t())

    def _nearest(self) -> Tensor:
        columns = max(1, _CHUNK // max(self.n_centroids, 1))
        return torch.cat([torch.cdist(self.centroids, part.t()).argmin(0) for part in self.W.split(columns, dim=1)])

    def assign(self) -> None:
        """Assign every column to its nearest centroid; no cluster stays empty unless there are too few columns."""
        self.assignments = self._nearest()
        if self.W.size(1) >= self.n_centroids:
            self.resolve_empty_clusters()

    def save(self, path: str, layer: str) -> None:
        """Write centroids and assignments to the folder ``path``."""
        for name in ("centroids", "assignments"):
            target = os.path.join(path, f"{layer}_{name}.pth")
            temporary = f"{target}.{random.getrandbits(32):08x}.tmp"
            torch.save(getattr(self, name), temporary)
            os.replace(temporary, target)

    def load(self, path: str, layer: str) -> None:
        """Read what :meth:`save` wrote."""
        for name in ("centroids", "assignments"):
            setattr(self, name, read_checkpoint(os.path.join(path, f"{layer}_{name}.pth"), unsafe=False))
