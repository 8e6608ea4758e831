"""Command lines: what is parsed, what an unknown name says, what help imports."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairseq import options
from fairseq.compat.flags import normalise_flags

PLUGIN = """
from fairseq.models import register_model, register_model_architecture, BaseFairseqModel

@register_model("{name}_model")
class {name}Model(BaseFairseqModel):
    @staticmethod
    def add_args(parser):
        parser.add_argument("--{name}-size", type=int)

@register_model_architecture("{name}_model", "{name}_arch")
def arch(args):
    args.{name}_size = getattr(args, "{name}_size", 11)
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[str]:
    name = f"optplugin{abs(hash(tmp_path)) % 10**8}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text(PLUGIN.format(name=name))
    yield str(folder)
    sys.modules.pop(name, None)


def parse(*words: str, **kwargs: object) -> Namespace:
    return options.parse_args_and_arch(options.get_training_parser(), list(words), **kwargs)  # type: ignore[arg-type]


def lstm(*words: str, **kwargs: object) -> Namespace:
    return parse("data", "--arch", "lstm", *words, **kwargs)


def test_presets_fill_what_is_not_given() -> None:
    args = lstm("--encoder-embed-dim", "7", "--optimizer", "adam", "--adam-eps", "0.5")
    assert (args.encoder_embed_dim, args.decoder_embed_dim, args.adam_eps) == (7, 512, 0.5)
    assert (args.data, args.task, args.seed, args.no_seed_provided) == ("data", "translation", 1, False)


def test_options_follow_each_other() -> None:
    args = lstm("--max-tokens", "30", "--batch-size", "4", "--memory-efficient-fp16")
    assert (args.max_tokens_valid, args.batch_size_valid, args.fp16) == (30, 4, True)
    assert lstm("--max-tokens-valid", "9").max_tokens_valid == 9
    with pytest.raises(ValueError, match="--max-tokens-valid x: expected a whole number"):
        lstm("--max-tokens-valid", "x")


def test_bf16_is_not_a_tpu() -> None:
    args = lstm("--bf16")
    assert args.bf16 and not args.tpu
    with pytest.raises(ValueError, match="--tpu"):
        lstm("--tpu")


def test_only_given_options_are_returned_if_asked_for() -> None:
    given = lstm("--max-tokens", "30", suppress_defaults=True)
    assert vars(given) == {"data": "data", "arch": "lstm", "max_tokens": 30}
    parser = options.get_training_parser()
    options.parse_args_and_arch(parser, ["data", "--arch", "lstm"], suppress_defaults=True)
    assert parser.get_default("max_epoch") == 0


def test_unknown_words_are_handed_back_if_asked_for() -> None:
    args, extra = lstm("--what-is-this", "5", parse_known=True)  # type: ignore[misc]
    assert args.arch == "lstm" and extra == ["--what-is-this", "5"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--arch", "lstn"], "Did you mean: lstm"),
        (["--task", "translatoin", "--arch", "lstm"], "Did you mean: translation"),
        (["--criterion", "cros_entropy", "--arch", "lstm"], "Did you mean: cross_entropy"),
    ],
)
def test_an_unknown_name_suggests_near_ones_and_mentions_plugins(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("data", *words)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and message in said and "--user-dir" in said and "error:" in said


def test_a_training_command_without_architecture_says_so() -> None:
    with pytest.raises(RuntimeError, match="--arch is missing"):
        parse("data")


def test_a_plugins_architecture_is_found_by_its_folder(plugin: str) -> None:
    name = Path(plugin).name
    args = parse("data", "--user-dir", plugin, "--arch", f"{name}_arch")
    assert getattr(args, f"{name}_size") == 11
    assert (
        getattr(parse("data", "--user-dir", plugin, "--arch", f"{name}_arch", f"--{name}-size", "3"), f"{name}_size")
        == 3
    )


def test_other_spellings_of_flags_are_understood_values_are_left_alone() -> None:
    words = ["--local-rank=2", "--lr-decay-period", "5", "local-rank", "--x=--local-rank"]
    assert normalise_flags(words) == ["--local_rank=2", "--lr-deacy-period", "5", "local-rank", "--x=--local-rank"]
    assert lstm("--local-rank=2").device_id == 2


def test_get_args_gives_a_complete_namespace() -> None:
    args = options.get_args("folder", arch="lstm", max_tokens=5)
    assert (args.data, args.arch, args.max_tokens, args.encoder_layers) == ("folder", "lstm", 5, 1)


@pytest.mark.parametrize(
    ("words", "expected", "unexpected"),
    [
        ([], "--max-tokens", "--adam-betas"),
        (["--optimizer", "adam"], "--adam-betas", "--encoder-freeze-embed"),
        (["--arch", "lstm"], "--encoder-freeze-embed", "--adam-betas"),
    ],
)
def test_help_shows_the_options_of_what_is_chosen(words: list[str], expected: str, unexpected: str) -> None:
    program = (
        "from fairseq import options; import sys; sys.argv = ['train'] + sys.argv[1:];"
        "options.parse_args_and_arch(options.get_training_parser())"
    )
    done = subprocess.run([sys.executable, "-c", program, *words, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and expected in done.stdout and unexpected not in done.stdout


def test_a_name_of_upstreams_that_is_not_there_yet_is_said_to_be_missing(capsys: pytest.CaptureFixture[str]) -> None:
    from fairseq.compat.suggest import unknown_name
    from fairseq.compat.upstream_names import UPSTREAM
    from fairseq.models import ARCH_MODEL_REGISTRY

    known = ["transformer", "lstm", "bart_basis"]
    said = unknown_name("--arch", "bart_base", known)
    assert "upstream's fairseq has it, this version does not have it yet" in said and "--user-dir" not in said
    assert "Names like it: bart_basis." in said
    assert "--user-dir" in unknown_name("--arch", "bart_bsae", known)
    assert "does not have it yet" in unknown_name("--lr-scheduler", "pass_through", ["fixed"])
    missing = sorted(UPSTREAM["arch"] - set(ARCH_MODEL_REGISTRY) - {"transformer"})
    assert len(UPSTREAM["arch"]) > 150
    for name in missing[:1]:
        with pytest.raises(SystemExit):
            parse("data", "--arch", name)
        assert "does not have it yet" in capsys.readouterr().err
