"""A tiny trained model, its data, and command lines of every tool that reads a checkpoint."""

from __future__ import annotations

import random
from pathlib import Path

TINY = ["--arch", "transformer", "--encoder-layers", "1", "--decoder-layers", "1", "--share-decoder-input-output-embed"]
for _side in ("encoder", "decoder"):
    TINY += [f"--{_side}-embed-dim", "8", f"--{_side}-ffn-embed-dim", "8", f"--{_side}-attention-heads", "2"]
TRAIN = [*TINY, "--task", "translation", "-s", "aa", "-t", "bb", "--cpu", "--num-workers", "0", "--seed", "3"]
TRAIN += ["--log-format", "none", "--max-tokens", "60", "--optimizer", "adam", "--lr", "0.01"]
READERS = ["generate", "interactive", "validate", "train", "inspect", "average", "convert", "diff", "hub", "eval_lm"]


def make(folder: Path) -> tuple[Path, Path]:
    """Binarise a made-up corpus and train two updates on it; returns the data folder and the checkpoint."""
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.training_loop import main
    from fairseq_cli.preprocess import main as preprocess

    draw = random.Random(1)
    for split in ("train", "valid", "test"):
        for language in ("aa", "bb"):
            rows = (" ".join(draw.choices("abcdefgh", k=draw.randint(2, 6))) for _ in range(20))
            (folder / f"{split}.{language}").write_text("".join(row + "\n" for row in rows))
    prefixes = [word for split in ("train", "valid", "test") for word in (f"--{split}pref", f"{folder}/{split}")]
    words = ["-s", "aa", "-t", "bb", *prefixes, "--destdir", f"{folder}/bin"]
    preprocess(options.get_preprocessing_parser().parse_args(words))
    words = [f"{folder}/bin", *TRAIN, "--save-dir", f"{folder}/ck", "--max-update", "2", "--no-epoch-checkpoints"]
    args = options.parse_args_and_arch(options.get_training_parser(), words)
    main(convert_namespace_to_omegaconf(args))
    (folder / "bin" / "dict.txt").write_bytes((folder / "bin" / "dict.aa.txt").read_bytes())  # for language models
    return folder / "bin", folder / "ck" / "checkpoint_last.pt"


def command(reader: str, data: Path, path: Path, scratch: Path) -> tuple[str, list[str]]:
    """``(tool, words)`` with which a reader meets a checkpoint file."""
    if reader in ("generate", "eval_lm"):
        subset = ["--gen-subset", "test", "--max-tokens", "100"]
        task = ["-s", "aa", "-t", "bb"] if reader == "generate" else []
        return reader, [str(data), "--path", str(path), "--cpu", "--num-workers", "0", *subset, *task]
    if reader == "interactive":
        lines = scratch / "lines.txt"
        lines.write_text("a b c\n")
        return reader, [str(data), "--path", str(path), "--cpu", "-s", "aa", "-t", "bb", "--input", str(lines)]
    if reader == "validate":
        words = ["--valid-subset", "valid", "--max-tokens", "100", "--cpu", "--num-workers", "0"]
        return reader, [str(data), "--path", str(path), "--task", "translation", "-s", "aa", "-t", "bb", *words]
    if reader == "train":
        saving = ["--save-dir", str(scratch / "saved"), "--max-update", "3"]
        return reader, [str(data), *TRAIN, "--restore-file", str(path), *saving]
    out = str(scratch / "out.pt")
    words = {
        "inspect": ["inspect", str(path)],
        "average": ["average", "--inputs", str(path), "--output", out],
        "convert": ["convert", str(path), str(scratch / "out.safetensors")],
        "diff": ["diff", str(path), str(path)],
    }
    return "checkpoint", words[reader]


def load_from_hub(data: Path, path: Path) -> None:
    """What a user of the Python interface does."""
    from fairseq.models.transformer import TransformerModel
    from fairseq_cli._console import run_command

    def work() -> None:
        model = TransformerModel.from_pretrained(str(path.parent), path.name, data_name_or_path=str(data))
        model.translate("a b c", beam=2)

    run_command(work)
