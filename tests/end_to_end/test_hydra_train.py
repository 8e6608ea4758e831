"""``fairseq-hydra-train``: config files, overrides, sweeps; the same run as ``fairseq-train``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from toy_training import checkpoint, same, tool

from fairseq import options
from fairseq.dataclass.initialize import hydra_init
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.training_loop import main
from fairseq_cli.hydra_train import cli_main, hydra_main

# The language model is the smallest family that has a config class.
CONFIG = """# @package _group_
common: {cpu: true, seed: 3, log_format: json, log_interval: 1}
dataset: {batch_size: 4, num_workers: 0}
optimization: {lr: [0.01], max_update: 4}
criterion: {_name: cross_entropy}
optimizer: {_name: adam}
lr_scheduler: {_name: inverse_sqrt, warmup_updates: 2}
task:
  _name: language_modeling
  data: ???
  tokens_per_sample: 12
model:
  _name: transformer_lm
  decoder_layers: 1
  decoder_embed_dim: 8
  decoder_input_dim: 8
  decoder_output_dim: 8
  decoder_ffn_embed_dim: 8
  decoder_attention_heads: 2
  dropout: 0.1
"""
FLAGS = (  # noqa: SIM905
    "--task language_modeling --arch transformer_lm --cpu --seed 3 --log-format json --log-interval 1 --batch-size 4 "
    "--num-workers 0 --lr 0.01 --max-update 4 --lr-scheduler inverse_sqrt --warmup-updates 2 --tokens-per-sample 12 "
    "--optimizer adam "
    "--decoder-layers 1 --decoder-embed-dim 8 --decoder-input-dim 8 --decoder-output-dim 8 --decoder-ffn-embed-dim 8 "
    "--decoder-attention-heads 2 --dropout 0.1"
).split()


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of binarised text, and beside it a folder of configs."""
    from fairseq import options
    from fairseq_cli.preprocess import main as preprocess

    folder = tmp_path_factory.mktemp("text")
    for split in ("train", "valid"):
        (folder / split).write_text("a b c d e f g h\nb d f h\nc c c a\n" * 6)
    words = ["--only-source", "--trainpref", f"{folder}/train", "--validpref", f"{folder}/valid"]
    preprocess(options.get_preprocessing_parser().parse_args([*words, "--destdir", f"{folder}/bin"]))
    (folder / "configs").mkdir()
    (folder / "configs" / "small.yaml").write_text(CONFIG)
    return folder


def composed(text: Path, *overrides: str) -> Any:
    from hydra import compose, initialize_config_dir

    hydra_init("small")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about rules of Hydra 1.1, which the tool asks for too
        with initialize_config_dir(str(text / "configs"), version_base="1.1"):
            return compose("small", overrides=[f"task.data={text}/bin", *overrides])


def test_a_config_of_ones_own_trains_what_the_same_flags_train(text: Path, tmp_path: Path) -> None:
    parsed = options.parse_args_and_arch(
        options.get_training_parser(), [f"{text}/bin", *FLAGS, "--save-dir", f"{tmp_path}/flags"]
    )
    main(convert_namespace_to_omegaconf(parsed))
    best = hydra_main(composed(text, f"checkpoint.save_dir={tmp_path}/hydra"))
    ours, theirs = checkpoint(tmp_path / "hydra"), checkpoint(tmp_path / "flags")
    assert same(ours["model"], theirs["model"])
    assert ours["extra_state"]["train_iterator"] == theirs["extra_state"]["train_iterator"]
    assert best == ours["extra_state"]["best"]


def test_a_sweep_trains_once_per_value_and_may_bear_a_run_that_fails(text: Path, tmp_path: Path) -> None:
    # The order of upstream's recipes: overrides first, then Hydra's own options.
    said = tool(
        *("hydra_train", f"task.data={text}/bin", "optimization.lr=[0.01],[0.02]", "hydra.sweep.dir=sweep"),
        *("dataset.train_subset=train,nothing", "common.suppress_crashes=true", "optimization.max_update=2"),
        *("--config-dir", text / "configs", "--config-name", "small", "-m"),
        cwd=tmp_path,
    )
    rates = [checkpoint(tmp_path / "sweep" / name / "checkpoints")["cfg"]["optimization"]["lr"] for name in "02"]
    assert rates == [[0.01], [0.02]]
    assert said.count("Crashed!") == 2 and "Warning" not in said and "Traceback" not in said


def test_the_installed_command_finds_the_shipped_configs(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    # It imports the module by its name, where ``python -m`` calls it __main__: Hydra looks in another way then.
    monkeypatch.setattr("sys.argv", ["fairseq-hydra-train", "--cfg", "job", "task=language_modeling", "task.data=x"])
    cli_main()
    assert "tokens_per_sample: 1024" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("config", "overrides", "complaint"),
    [
        ("small", ["common.no_such_field=3"], "no_such_field"),
        ("small", ["criterion._name=no_such"], "--criterion no_such"),
        ("broken", [], "(?s)broken.yaml.*line 1"),
    ],
)
def test_mistakes_reach_the_tool_which_shows_them_in_one_line(
    text: Path, monkeypatch: pytest.MonkeyPatch, config: str, overrides: list[str], complaint: str
) -> None:
    (text / "configs" / "broken.yaml").write_text("common: {seed: [1, 2}\n")
    words = [f"task.data={text}/bin", "hydra.run.dir=.", *overrides]
    monkeypatch.setattr(
        "sys.argv", ["hydra_train", *words, "--config-dir", str(text / "configs"), "--config-name", config]
    )
    monkeypatch.setattr("logging.config.dictConfig", lambda settings: None)
    monkeypatch.chdir(text)
    with pytest.raises(Exception, match=complaint):
        cli_main()
