"""From batches of indices to a stream of mini-batches that can be stopped and taken up again.

``counting``       iterators that know where they are: CountingIterator, GroupedIterator, ShardedIterator
``buffered``       a thread that reads ahead: BufferedIterator
``epoch``          the order of batches in an epoch, sharding, data-loader workers, state: EpochBatchIterator
``grouped_epoch``  several lists of batches that are not mixed within a step: GroupedEpochBatchIterator
``streaming``      data sets without indices: StreamingEpochBatchIterator
"""

from fairseq.data.iterators.buffered import BackgroundConsumer, BufferedIterator
from fairseq.data.iterators.counting import CountingIterator, GroupedIterator, ShardedIterator
from fairseq.data.iterators.epoch import EpochBatchIterating, EpochBatchIterator, FrozenBatchSampler
from fairseq.data.iterators.grouped_epoch import GroupedEpochBatchIterator
from fairseq.data.iterators.streaming import StreamingEpochBatchIterator

__all__ = [
    "BackgroundConsumer",
    "BufferedIterator",
    "CountingIterator",
    "EpochBatchIterating",
    "EpochBatchIterator",
    "FrozenBatchSampler",
    "GroupedEpochBatchIterator",
    "GroupedIterator",
    "ShardedIterator",
    "StreamingEpochBatchIterator",
]
