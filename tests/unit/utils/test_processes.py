"""Worker processes are forked on Linux whatever Python's default is, unless the program has chosen otherwise."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked by default")

# What Python 3.14 does when it starts: its first method is no longer fork.
AS_PYTHON_3_14 = """
import multiprocessing
import multiprocessing.context as context
context._default_context._default_context = context._concrete_contexts["forkserver"]
multiprocessing.get_all_start_methods = lambda: ["forkserver", "spawn", "fork"]
"""


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", "fork"),
        ("multiprocessing.Lock()", "fork"),
        ("multiprocessing.set_start_method('spawn')", "spawn"),
    ],
)
def test_the_default_of_python_3_14_is_not_a_choice(before: str, expected: str) -> None:
    ask = "from fairseq.utils.processes import worker_context\nprint(worker_context().get_start_method())"
    assert run(f"{AS_PYTHON_3_14}\n{before}\n{ask}") == expected


def test_data_sets_that_no_other_way_could_hand_over_are_read_by_workers() -> None:
    program = f"""{AS_PYTHON_3_14}
import torch
from fairseq.data import FairseqDataset, iterators

class Numbers(FairseqDataset):
    def __init__(self): self.double = lambda number: 2 * number
    def __getitem__(self, index): return torch.tensor(self.double(index))
    def __len__(self): return 6
    def collater(self, samples): return torch.stack(samples)
    def ordered_indices(self): return range(6)

numbers = Numbers()
batches = iterators.EpochBatchIterator(numbers, numbers.collater, [[0, 1], [2, 3], [4, 5]], num_workers=1)
print(sorted(int(number) for batch in batches.next_epoch_itr(shuffle=False) for number in batch))
"""
    assert run(program) == "[0, 2, 4, 6, 8, 10]"
