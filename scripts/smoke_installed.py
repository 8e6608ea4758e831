"""Use an installed fairseq from outside the checkout: every tool, from text to translations.

    /some/environment/bin/python smoke_installed.py [--compiled] [--outside CHECKOUT]

Runs in a folder of its own. Exits with the first command that fails. ``--compiled`` asks for the compiled modules,
``--outside`` refuses the fairseq of that checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

TOOLS = (
    *("preprocess", "train", "generate", "interactive", "score", "validate", "eval-lm", "hydra-train"),
    *("checkpoint", "patch", "env", "prepare"),
)
SIZES = ("--encoder-embed-dim", "--encoder-hidden-dim", "--decoder-embed-dim", "--decoder-hidden-dim")
SMALL = [word for flag in SIZES for word in (flag, "16")]


class Smoke:
    """Commands of one environment, run in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
        self.environment = {**kept, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

    def run(self, *words: object, stdin: str = "") -> str:
        """Run a command; returns its output, exits if it fails."""
        command = [str(word) for word in words]
        print("$", shlex.join([Path(command[0]).name, *command[1:]]), flush=True)
        done = subprocess.run(
            command,
            input=stdin,
            cwd=self.folder,
            env=self.environment,
            text=True,
            encoding="utf-8",
            capture_output=True,
        )
        if done.returncode:
            sys.exit(f"exit code {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def tool(self, name: str, *words: object, stdin: str = "") -> str:
        """Run ``fairseq-NAME`` of this environment."""
        return self.run(Path(sys.executable).parent / f"fairseq-{name}", *words, stdin=stdin)


def expect(condition: object, message: str) -> None:
    """Exit with a message unless something holds."""
    if not condition:
        sys.exit(message)


def look_at_installation(smoke: Smoke, outside: Path | None, compiled: bool) -> None:
    """Where it is, what it brought along."""
    found = json.loads(smoke.tool("env", "--json"))
    home = Path(found["fairseq"]["location"])
    expect(outside is None or home.resolve() != (outside / "fairseq").resolve(), f"fairseq is imported from {home}")
    expect(set(found["shipped plugins"]) == {"classifying_names", "tutorial_lstm"}, "shipped plugins are missing")
    expect(not compiled or all(found["compiled extensions"].values()), "compiled modules are missing")
    expect(not list(home.rglob("*.pyx")), "sources of compiled modules were installed")
    expect(list((home / "config").rglob("*.yaml")), "configs are missing")
    script = home / "examples" / "translation" / "prepare-iwslt14.sh"
    expect(script.is_file(), f"{script} is missing")
    if os.name != "nt":
        # The Python of this environment is to be found without being told.
        expect("usage: prepare-iwslt14.sh" in smoke.run("bash", script, "--help"), f"{script} --help")
    for name in TOOLS:
        expect("usage" in smoke.tool(name, "--help").lower() or name == "hydra-train", f"fairseq-{name} --help")


def translate(smoke: Smoke) -> None:
    """The shipped plugin, by its bare name: data, training, and every tool that reads the result."""
    sizes = ["--train-size", "200", "--valid-size", "20", "--test-size", "20", "--bpe-operations", "100"]
    smoke.tool("prepare", "numbers", "--destdir", "data", *sizes)
    plugin, pair = ["--user-dir", "tutorial_lstm"], ["-s", "de", "-t", "en"]
    command = ["--optimizer", "adam", "--lr", "0.005", "--max-tokens", "400", "--max-epoch", "1", "--save-dir", "run"]
    smoke.tool("train", "data", *plugin, "--arch", "tutorial_simple_lstm", *SMALL, *pair, *command)
    weights = ["--path", "run/checkpoint_best.pt"]
    said = smoke.tool("generate", "data", *plugin, *pair, *weights, "--beam", "2", "--remove-bpe")
    expect("Generate test with beam=2: BLEU4 = " in said, "no score")
    said = smoke.tool("interactive", "data", *plugin, *pair, *weights, stdin="ein@@ s\n")
    expect("\nH-0\t" in said, "no hypothesis")
    smoke.tool("validate", "data", *plugin, *weights, "--max-tokens", "400")
    smoke.tool("checkpoint", "inspect", "run/checkpoint_best.pt", "--no-parameters")
    text = smoke.folder / "data" / "work" / "test.en"
    expect("BLEU" in smoke.tool("score", "--sys", text, "--ref", text), "no score of a file")


def language_model(smoke: Smoke) -> None:
    """A language model from YAML, with Hydra, and its perplexity."""
    text = smoke.folder / "data" / "work"
    parts = [word for part in ("train", "valid", "test") for word in (f"--{part}pref", text / f"{part}.en")]
    smoke.tool("preprocess", "--only-source", *parts, "--destdir", "text")
    settings = ["decoder_embed_dim=16", "decoder_ffn_embed_dim=16", "decoder_layers=1", "decoder_attention_heads=2"]
    smoke.tool(
        *["hydra-train", "task=language_modeling", f"task.data={smoke.folder / 'text'}", "model=transformer_lm"],
        *[*(f"model.{setting}" for setting in settings), "criterion=cross_entropy", "optimizer=adam"],
        *["lr_scheduler=fixed", "optimization.lr=[0.01]", "optimization.max_update=5", "dataset.max_tokens=500"],
        *["task.tokens_per_sample=64", f"checkpoint.save_dir={smoke.folder / 'lm'}", "common.cpu=true"],
    )
    said = smoke.tool("eval-lm", "text", "--path", "lm/checkpoint_last.pt", "--max-tokens", "500")
    expect("Perplexity" in said, "no perplexity")


def main(argv: Sequence[str] | None = None) -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--compiled", action="store_true", help="the compiled modules must be there")
    parser.add_argument("--outside", type=Path, help="checkout whose fairseq must not be the one in use")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="fairseq-smoke-") as folder:
        smoke = Smoke(Path(folder))
        look_at_installation(smoke, args.outside, args.compiled)
        translate(smoke)
        language_model(smoke)
    print("the installation works")


if __name__ == "__main__":
    main()
