"""Options of the inference tools that have no effect are named, each once; those that have are not."""

from __future__ import annotations

from typing import Any

import pytest

from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq_cli._idle import GENERATE, INTERACTIVE, LANGUAGE_MODEL, idle_options

PARSERS: dict[str, tuple[Any, dict[str, str]]] = {
    "generate": (options.get_generation_parser, GENERATE),
    "interactive": (options.get_interactive_generation_parser, INTERACTIVE),
    "eval_lm": (options.get_eval_lm_parser, LANGUAGE_MODEL),
}


def idle(tool: str, *words: str) -> list[str]:
    """The options that are said to have no effect."""
    make, reads = PARSERS[tool]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(make(), ["data", *words]))
    return [sentence.split()[0] for sentence in idle_options(cfg, reads)]


@pytest.mark.parametrize(
    ("tool", "words", "named"),
    [
        ("generate", [], []),
        ("generate", ["--max-tokens", "50", "--batch-size", "3", "--seed", "3", "--cpu", "--path", "x"], []),
        ("generate", ["--patience", "3", "--save-dir", "x"], ["--save-dir", "--patience"]),
        ("generate", ["--max-tokens-valid", "3", "--ddp-backend", "no_c10d"], ["--ddp-backend", "--max-tokens-valid"]),
        ("generate", ["--optimizer", "sgd"], ["--optimizer"]),
        ("generate", ["--lm-weight", "0.3"], ["--lm-weight"]),
        ("generate", ["--lm-path", "x"], ["--lm-path"]),
        ("generate", ["--lm-path", "x", "--lm-weight", "0.3"], []),
        ("generate", ["--unnormalized", "--lenpen", "2"], ["--lenpen"]),
        ("generate", ["--nbest", "5"], []),
        ("generate", ["--nbest", "6"], ["--nbest"]),
        ("generate", ["--beam", "2", "--nbest", "2"], []),
        ("generate", ["--no-early-stop", "--beam-mt", "3"], ["--beam-mt", "--no-early-stop"]),
        ("generate", ["--score-reference", "--beam", "3", "--sampling"], ["--beam", "--sampling"]),
        ("generate", ["--sacrebleu", "--scoring", "wer"], ["--sacrebleu"]),
        ("generate", ["--match-source-len", "--max-len-b", "3"], ["--max-len-b"]),
        ("generate", ["--diverse-beam-strength", "0.3", "--retain-dropout-modules", "X"], 2),
        ("generate", ["--num-shards", "2", "--shard-id", "1", "--log-file", "x"], 3),
        # The task's own config takes its values from these.
        ("generate", ["--dataset-impl", "raw", "--required-seq-len-multiple", "8"], []),
        ("interactive", ["--buffer-size", "3", "--input", "x", "--constraints"], []),
        ("interactive", ["--gen-subset", "valid", "--prefix-size", "1", "--sacrebleu", "--scoring", "wer"], 4),
        ("interactive", ["--results-path", "x", "--quiet", "--num-workers", "0", "--print-step"], 4),
        (
            "eval_lm",
            ["--context-window", "3", "--num-shards", "2", "--max-tokens", "9", "--tokens-per-sample", "9"],
            [],
        ),
        ("eval_lm", ["--quiet", "--results-path", "x", "--bpe", "gpt2", "--scoring", "wer"], 4),
        ("eval_lm", ["--skip-invalid-size-inputs-valid-test", "--required-batch-size-multiple", "1"], 2),
    ],
)
def test_options_without_effect_are_named_once(tool: str, words: list[str], named: Any) -> None:
    told = idle(tool, *words)
    assert len(set(told)) == len(told)
    if isinstance(named, int):
        assert set(told) == {word for word in words if word.startswith("--")} and len(told) == named
    else:
        assert told == named


@pytest.mark.parametrize("tool", sorted(PARSERS))
def test_every_option_of_a_tool_is_either_read_or_named(tool: str) -> None:
    make, reads = PARSERS[tool]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(make(), ["data"]))
    for section, names in reads.items():
        for name in names.split():
            # A name that no section has would be a slip: the option it is meant for would be warned about.
            assert hasattr(getattr(cfg, section), name), f"{section}.{name}"
