"""Every tool that reads a checkpoint meets hostile and nonsensical ones: exit code 1 or 2 and one line, or it works.

``FAIRSEQ_TEST_NONSENSE`` raises the number of random files (25).
"""

from __future__ import annotations

import copy
import os
import random
from argparse import Namespace
from pathlib import Path

import pytest
import torch
import trained
from forked import Ending, forked, tool
from hostile import payloads, places, write_legacy, write_zip

from fairseq.serialization import read_checkpoint

COUNT = int(os.environ.get("FAIRSEQ_TEST_NONSENSE", "25"))
MEMORY = 300 << 20
JUNK = [None, True, -1, 0, 10**6, 10**18, 1.5, float("nan"), "x", "", [], [1], {}, {"a": 1}, (), torch.zeros(3)]
JUNK += [Namespace(a=1), "???", "${a}", "${oc.env:HOME}", b"x", torch.zeros(0), "/etc/passwd", [[]] * 3, {"_name": "x"}]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained model; ``run(reader, file)`` lets one reader read a file in a child."""
    folder = tmp_path_factory.mktemp("trained")
    # The children inherit what is imported here.
    import fairseq.hub_utils
    import fairseq.models.transformer
    import fairseq.tasks.translation
    import fairseq.training_loop  # noqa: F401

    made = forked(lambda: trained.make(folder), None)
    assert made.code == 0, made.output

    def call(reader: str, path: Path, *more: str) -> Ending:
        if reader == "hub":
            return forked(lambda: trained.load_from_hub(folder / "bin", path))
        name, words = trained.command(reader, folder / "bin", path, folder)
        return tool(name, [*words, *more])

    call.good = folder / "ck" / "checkpoint_last.pt"
    call.folder = folder
    return call


def is_clean(ending: Ending) -> bool:
    return ending.code in (0, 1, 2) and "Traceback" not in ending.output and "escaped:" not in ending.output


@pytest.mark.parametrize("reader", trained.READERS)
def test_a_good_file_is_read_by_all_and_a_hostile_one_by_none(reader, run, tmp_path):
    if reader != "eval_lm":  # the model is no language model
        good = run(reader, run.good)
        assert good.code == 0, good.output
    canary = tmp_path / "canary"
    bodies = payloads(canary)
    files = {
        "reduce.pt": lambda path: write_zip(path, places(bodies["reduce-posix-system"])["args"]),
        "legacy.pt": lambda path: write_legacy(path, places(bodies["inst"])["optimizer"]),
        "empty.pt": lambda path: path.write_bytes(b""),
        "text.pt": lambda path: path.write_text("no checkpoint\n"),
        "folder.pt": lambda path: path.mkdir(),
    }
    for name, write in files.items():
        write(tmp_path / name)
        ending = run(reader, tmp_path / name)
        if reader == "inspect" and name in ("reduce.pt", "legacy.pt"):
            assert ending.code == 0 and "UNKNOWN" in ending.output, ending.output
        else:
            assert ending.code in (1, 2), (name, ending.output)
            last = ending.output.strip().splitlines()[-1]
            assert name in last and "Error" in last, (name, ending.output)
        assert is_clean(ending), (name, ending.output)
    assert not canary.exists()


def keys(node, before=()):
    """Paths of all values of a state."""
    node = vars(node) if isinstance(node, Namespace) else node
    if isinstance(node, (dict, list)):
        for key in node if isinstance(node, dict) else range(len(node)):
            yield (*before, key)
            yield from keys(node[key], (*before, key))


def put(state, path, value):
    for key in path[:-1]:
        state = vars(state)[key] if isinstance(state, Namespace) else state[key]
    if isinstance(state, Namespace):
        setattr(state, path[-1], value)
    else:
        state[path[-1]] = value


def test_nonsense_at_any_place_is_an_error_of_one_line(run, tmp_path):
    draw = random.Random(5)
    state = read_checkpoint(run.good)
    by_part: dict[str, list[tuple]] = {}
    for path in keys(state):
        by_part.setdefault(path[0], []).append(path)
    wrong = []
    for _ in range(COUNT):
        changed, what = copy.deepcopy(state), []
        path = draw.choice(by_part[draw.choice(sorted(by_part))])
        value = draw.choice(JUNK)
        put(changed, path, value)
        what.append((path, value))
        torch.save(changed, tmp_path / "x.pt")
        reader = draw.choice(["generate", "train", "hub", "validate", "inspect", "convert", "diff", "average"])
        ending = run(reader, tmp_path / "x.pt")
        if not is_clean(ending) or ending.peak > MEMORY:
            wrong.append((reader, what, ending.code, ending.peak, ending.output[-1500:]))
    assert not wrong, wrong


@pytest.mark.parametrize("width", [10**7, 10**18])
@pytest.mark.parametrize("option", ["encoder_ffn_embed_dim", "encoder_layers", "max_source_positions"])
def test_a_model_far_larger_than_its_file_is_not_built(option, width, run, tmp_path):
    state = read_checkpoint(run.good)
    model = state["cfg"]["model"]
    put(model, (option,), width)
    torch.save(state, tmp_path / "x.pt")
    ending = run("generate", tmp_path / "x.pt")
    assert is_clean(ending), ending.output
    assert ending.peak < 900 << 20
    if option != "max_source_positions":
        assert ending.code == 1, ending.output


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch CANARY')",
        "{'data': __import__('os').system('touch CANARY')}",
        "{'a': [x for x in ().__class__.__bases__]}",
        "{'data': '${run:x}'}",
        "{" * 5000,
        "[1]",
        "{'a': 9**9**9}",
        "\0",
    ],
)
def test_overrides_are_data(text, run, tmp_path):
    canary = tmp_path / "canary"
    ending = run("generate", run.good, "--model-overrides", text.replace("CANARY", str(canary)))
    assert ending.code in (1, 2) and is_clean(ending), ending.output
    assert not canary.exists()


@pytest.mark.parametrize("words", [["--path", "$(touch CANARY)"], ["--path", "|touch CANARY"], ["--path", "a\0b"]])
def test_a_path_is_a_file_name(words, run, tmp_path):
    canary = tmp_path / "canary"
    ending = run("generate", run.good, *(word.replace("CANARY", str(canary)) for word in words))
    assert ending.code in (1, 2) and is_clean(ending), ending.output
    assert not canary.exists()


@pytest.mark.parametrize("name", ["os", "", "no.such.Class", "os.system", "a b.c", "x" * 5000 + ".y"])
def test_a_name_that_is_allowed_wrongly_allows_nothing_else(name, run, tmp_path):
    write_zip(tmp_path / "x.pt", places(payloads(tmp_path / "canary")["reduce-eval"])["args"])
    ending = run("generate", tmp_path / "x.pt", "--safe-globals", name)
    assert ending.code in (1, 2) and is_clean(ending), ending.output
    assert not (tmp_path / "canary").exists()
