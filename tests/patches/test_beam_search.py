"""Beam searches and masks of the years of PyTorch 0.4 to 1.1: they run, and find what they found."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from fairseq_patches.cli import main

MakeTree = Callable[[Dict[str, Any]], Path]
torch = pytest.importorskip("torch")

# One step of three searches: which beams and words are the best four of two sentences with two beams and five words.
STEPS = {
    "attributes, as in 0.8 and 0.9": """\
class Search:
    def __init__(self):
        self.scores_buf = None
        self.indices_buf = None
        self.beams_buf = None

    def buffers(self, t):
        if self.scores_buf is None:
            self.scores_buf = t.new()
            self.indices_buf = torch.LongTensor().to(device=t.device)
            self.beams_buf = self.make()

    def make(self):
        return torch.LongTensor()

    def step(self, lprobs, vocab):
        self.buffers(lprobs)
        torch.topk(lprobs.view(2, -1), k=4, out=(self.scores_buf, self.indices_buf))
        torch.div(self.indices_buf, vocab, out=self.beams_buf)
        self.indices_buf.fmod_(vocab)
        return self.indices_buf, self.beams_buf


words, beams = Search().step(PROBS, 5)
""",
    "a dictionary of buffers, as in 0.6": """\
def search(tokens, probs, vocab):
    buffers = {}

    def buffer(name, type_of=tokens):
        if name not in buffers:
            buffers[name] = type_of.new()
        return buffers[name]

    cand_scores = buffer("scores", type_of=probs)
    cand_indices = buffer("indices")
    cand_beams = buffer("beams")
    torch.topk(probs.view(2, -1), k=4, out=(cand_scores, cand_indices))
    torch.div(cand_indices, vocab, out=cand_beams)
    cand_indices.fmod_(vocab)
    return cand_indices, cand_beams


words, beams = search(torch.LongTensor(1), PROBS, 5)
""",
    "other names, a tuple of its own, and a view": """\
def search(p, vocab):
    best, where, origin = p.new(), p.new().long(), [p.new().long()][0]
    results = (best, where)
    torch.sort(p.view(2, -1), dim=1, descending=True, out=results)
    head = where[:, :4].contiguous()
    torch.div(input=head, other=vocab, out=origin)
    head.fmod_(vocab)
    return head, origin


words, beams = search(PROBS, 5)
""",
    "from torch import": """\
from torch import div, topk

values, found = topk(PROBS.view(2, -1), 4)
words = found.fmod(5)
beams = found.clone()
div(found, 5, out=beams)
""",
    "in place": """\
values, found = PROBS.view(2, -1).topk(4)
words = found % 5
found.div_(5)
beams = found
""",
    "in place with an operator": """\
result = PROBS.view(2, -1).topk(4)
beams = result[1]
words = beams % 5
beams /= 5
""",
}
HEAD = "import torch\n\nPROBS = torch.linspace(0, 7, 20).sin().view(2, 2, 5)\n"


@pytest.mark.parametrize("name", STEPS)
def test_indices_of_topk_are_divided_as_integers(name: str, make_tree: MakeTree) -> None:
    root = make_tree({"m.py": HEAD + STEPS[name]})
    with pytest.raises(RuntimeError, match="can't be cast"):
        runpy.run_path(str(root / "m.py"))
    assert main(["apply", str(root)]) == 0
    after = runpy.run_path(str(root / "m.py"))
    wanted = after["PROBS"].view(2, -1).topk(4)[1]
    assert torch.equal(after["words"], wanted % 5) and torch.equal(after["beams"], wanted // 5)
    assert main(["check", str(root)]) == 0


MASKS = {
    "x.masked_fill(1 - pad, 9)": [9.0, 1.0, 9.0],
    "x.masked_fill(mask=(1 - pad), value=9)": [9.0, 1.0, 9.0],
    "torch.where(1 - pad, x, -x)": [0.0, -1.0, 2.0],
    "x.where(1 - pad, -x)": [0.0, -1.0, 2.0],
    "x[1 - pad]": [0.0, 2.0],
    "x[pad]": [1.0],
    "x[1 - ids.eq(5).byte()]": [0.0, 2.0],
    "x[1 - torch.ByteTensor([0, 1, 0])]": [0.0, 2.0],
    "x.masked_select(1 - (pad & other))": [0.0, 2.0],
    "torch.masked_select(x, inverse)": [0.0, 2.0],
    "x.masked_fill_(1 - ids.eq(5), 9)": [9.0, 1.0, 9.0],
    "hide(x, 1 - ids.eq(5))": [9.0, 1.0, 9.0],
    "invert(x, pad)": [9.0, 1.0, 9.0],
    "(1 - pad).float()": [1.0, 0.0, 1.0],
}
MASK_HEAD = """\
import torch


def hide(x, mask):
    return x.masked_fill(mask, 9)


def invert(x, mask):
    return x.masked_fill(1 - mask, 9)


x = torch.arange(3.0)
ids = torch.LongTensor([4, 5, 6])
pad = ids.eq(5).byte()
other = torch.ones(3, dtype=torch.uint8)
inverse = 1 - pad
"""


@pytest.mark.parametrize("expression", MASKS)
def test_masks_of_bytes_are_inverted_as_truth_values(expression: str, make_tree: MakeTree) -> None:
    root = make_tree({"m.py": f"{MASK_HEAD}y = {expression}\n"})
    assert main(["apply", str(root)]) == 0
    assert runpy.run_path(str(root / "m.py"))["y"].tolist() == MASKS[expression]
    assert main(["check", str(root)]) == 0


PLAIN = """\
import math
import numpy as np
import os
import torch

rate = 16000
n = int(os.environ.get("N", "4"))
a = n / rate
b = int(n / rate)
nodes = int("8")
c = int(nodes / n)
d = int(torch.LongTensor([7]) / n)
e = (torch.LongTensor([7]) / n).long()
f = math.floor(torch.LongTensor([7]).sum().item() / 2)
g = np.argmax([1, 2]) / 2
h = np.zeros(3, dtype=np.int64) / n
i = torch.LongTensor([7]).tolist()[0] / n
j = torch.LongTensor([7]) / 2.0
k = len([1]) / float(n)
m = 1 - bool(n)
o = 1 - math.isnan(1.0)
mask = np.zeros(3, dtype=np.uint8)
p = np.where(mask, 1, 2), np.arange(3)[mask], 1 - mask
n /= 2
"""


def test_plain_numbers_and_arrays_are_not_mentioned(make_tree: MakeTree, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_tree({"m.py": PLAIN})
    main(["check", str(root), "--json"])
    assert json.loads(capsys.readouterr().out)["findings"] == []


def test_a_quotient_of_unknown_purpose_is_still_left_to_a_person(
    make_tree: MakeTree, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_tree({"m.py": "import torch\n\n\ndef f(ids, k):\n    ids = ids.long()\n    return ids / k\n"})
    assert main(["check", str(root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [(item["line"], item["by_hand"]) for item in found] == [(6, True)]
