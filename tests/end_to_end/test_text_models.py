"""Text models through the tools: fewer layers than were trained, quantisation, language models."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from fairseq import checkpoint_utils, options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.serialization import read_checkpoint
from fairseq.training_loop import main

SIDES = ("encoder", "decoder")
MODEL = ["--arch", "transformer_tiny", *(word for side in SIDES for word in (
    f"--{side}-embed-dim", "16", f"--{side}-ffn-embed-dim", "16", f"--{side}-layers", "3",
    f"--{side}-attention-heads", "2"))]  # fmt: skip
RUN = ["--cpu", "--num-workers", "0", "--seed", "3", "--max-tokens", "200", "--optimizer", "adam", "--lr", "0.01",
       "--max-epoch", "1", "--no-progress-bar"]  # fmt: skip
PAIRS = ["--task", "translation", "-s", "aa", "-t", "bb", *MODEL, *RUN]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("text")
    draw = random.Random(1)
    for split, lines in (("train", 60), ("valid", 10)):
        source = [[draw.choice("abcdefgh") for _ in range(draw.randint(2, 8))] for _ in range(lines)]
        (folder / f"{split}.aa").write_text("".join(" ".join(words) + "\n" for words in source))
        (folder / f"{split}.bb").write_text("".join(" ".join(reversed(words)) + "\n" for words in source))
    preprocess(["-s", "aa", "-t", "bb", *paths(folder, ""), "--destdir", f"{folder}/bin"])
    preprocess(["--only-source", *paths(folder, ".bb"), "--destdir", f"{folder}/lm"])
    return str(folder)


def paths(folder: Path, ending: str) -> list[str]:
    return ["--trainpref", f"{folder}/train{ending}", "--validpref", f"{folder}/valid{ending}"]


def preprocess(words: list[str]) -> None:
    from fairseq_cli.preprocess import main as run_preprocess

    run_preprocess(options.get_preprocessing_parser().parse_args(words))


def train(data: str, save_dir: Path, *words: Any) -> Path:
    parser = options.get_training_parser()
    args = options.parse_args_and_arch(parser, [data, "--save-dir", str(save_dir), *map(str, words)])
    main(convert_namespace_to_omegaconf(args))
    return save_dir / "checkpoint_last.pt"


def load(path: Path, data: str, **overrides: Any) -> Any:
    return checkpoint_utils.load_model_ensemble([str(path)], arg_overrides={"data": data, **overrides})[0][0]


@pytest.fixture(scope="module")
def trained(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layers")
    return train(f"{data}/bin", folder, *PAIRS, "--encoder-layerdrop", "0.3", "--decoder-layerdrop", "0.3")


def test_layers_are_left_out_of_a_trained_model(trained: Path, data: str) -> None:
    whole = load(trained, f"{data}/bin")
    pruned = load(trained, f"{data}/bin", encoder_layers_to_keep="0,2", decoder_layers_to_keep="1")
    assert (len(pruned.encoder.layers), len(pruned.decoder.layers)) == (2, 1)
    for kept, original in ((pruned.encoder.layers[1], whole.encoder.layers[2]),
                           (pruned.decoder.layers[0], whole.decoder.layers[1])):  # fmt: skip
        assert torch.equal(kept.fc1.weight, original.fc1.weight)


def test_a_model_that_was_pruned_is_trained_on_and_loads(trained: Path, data: str, tmp_path: Path) -> None:
    keep = ["--encoder-layers-to-keep", "0,2", "--decoder-layers-to-keep", "0,2"]
    start = ["--restore-file", trained, "--reset-optimizer", "--reset-dataloader", "--reset-lr-scheduler",
             "--reset-meters"]  # fmt: skip
    saved = train(f"{data}/bin", tmp_path, *PAIRS, *keep, *start)
    numbers = {key.split(".")[2] for key in read_checkpoint(saved)["model"] if ".layers." in key}
    assert numbers == {"0", "1"}
    model = load(saved, f"{data}/bin")
    assert torch.equal(
        model.encoder.layers[1].fc1.weight, read_checkpoint(saved)["model"]["encoder.layers.1.fc1.weight"]
    )
    assert train(f"{data}/bin", tmp_path, *PAIRS, *keep, "--max-epoch", "2") == saved


def test_product_quantisation_begins_with_its_epoch(data: str, tmp_path: Path) -> None:
    config = tmp_path / "pq.yaml"
    config.write_text(
        "n_centroids:\n  Linear: ['in_features', {'*': 4}]\nblock_sizes:\n  Linear: ['fuzzy_name', {fc: 4}]\n"
        "layers_to_quantize:\n  - 'encoder\\.layers\\.\\d+\\.fc[12]'\n  - 'decoder\\.layers\\.\\d+\\.fc[12]'\n"
    )
    saved = train(f"{data}/bin", tmp_path, *PAIRS, "--quantization-config-path", config, "--quant-noise-pq", "0.1",
                  "--quant-noise-pq-block-size", "4", "--max-epoch", "2")  # fmt: skip
    first, second = (read_checkpoint(saved.with_name(f"checkpoint{epoch}.pt"))["model"] for epoch in (1, 2))
    assert "encoder.layers.0.fc1.centroids" in first and "decoder.layers.0.fc1.weight" in first
    assert "decoder.layers.2.fc2.assignments" in second


@pytest.mark.parametrize("options_", [["--quant-noise-scalar", "0.5"], ["--quant-noise-pq", "0.5"]])
def test_noise_changes_what_is_learnt(options_: list[str], trained: Path, data: str, tmp_path: Path) -> None:
    drop = ["--encoder-layerdrop", "0.3", "--decoder-layerdrop", "0.3"]
    noisy = read_checkpoint(train(f"{data}/bin", tmp_path, *PAIRS, *drop, *options_))["model"]
    plain = read_checkpoint(trained)["model"]
    assert not torch.equal(noisy["encoder.layers.0.fc1.weight"], plain["encoder.layers.0.fc1.weight"])


LM = ["--task", "language_modeling", "--arch", "transformer_lm", "--decoder-layers", "1", "--decoder-embed-dim", "16",
      "--decoder-ffn-embed-dim", "16", "--decoder-attention-heads", "2", *RUN]  # fmt: skip


@pytest.mark.parametrize(
    "shape",
    [
        ["--tokens-per-sample", "16", "--sample-break-mode", "none"],
        ["--tokens-per-sample", "32", "--sample-break-mode", "complete"],
        ["--tokens-per-sample", "32", "--sample-break-mode", "eos"],
    ],
    ids=["none", "complete", "eos"],
)
def test_eval_lm_gives_the_perplexity_of_validation(shape: list[str], data: str, tmp_path: Path) -> None:
    from fairseq_cli.eval_lm import main as eval_lm

    saved = train(f"{data}/lm", tmp_path, *LM, *shape)
    validated = read_checkpoint(saved)["extra_state"]["val_loss"]
    parser = options.get_eval_lm_parser()
    words = [f"{data}/lm", "--path", str(saved), "--gen-subset", "valid", "--cpu", "--num-workers", "0", *shape]
    result = eval_lm(convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, words)))
    # The checkpoint holds three decimals.
    assert result["loss"] == pytest.approx(validated, abs=6e-4)
