"""Worker processes are forked on Linux whatever Python's default is, unless the program has chosen otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fairseq.utils.processes import available_cores

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


@pytest.mark.parametrize(
    ("line", "files", "limit"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 2),
        ("0::/", {"cpu.max": "max 100000"}, 64),
        ("0::/jobs/one", {"jobs/cpu.max": "100000 100000", "jobs/one/cpu.max": "max 100000"}, 1),
        ("0::/not/seen/here", {"cpu.max": "50000 100000"}, 1),
        ("4:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ("3:memory:/", {"cpu.max": "100000 100000"}, 64),
    ],
)
def test_cores_are_counted_by_affinity_and_quota(
    line: str, files: dict[str, str], limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text(line + "\n")
    for name, text in files.items():
        path = tmp_path / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert available_cores(str(tmp_path)) == limit
