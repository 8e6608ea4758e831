#!/usr/bin/env python3
"""``fairseq-checkpoint``: look into, average, convert and compare checkpoint files."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from fairseq_cli._console import run_command, setup_logging

__all__ = ["cli_main", "console_main", "get_parser"]

DTYPES = ("float32", "float16", "bfloat16")


def get_parser() -> argparse.ArgumentParser:
    """The command line: one subcommand per job."""
    from fairseq.compat.suggest import Parser
    from fairseq.serialization.allowed import add_cli_options

    parser = Parser(description=__doc__.split(": ", 1)[1], allow_abbrev=False)
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")

    look = jobs.add_parser("inspect", help="tell what a file holds, without running anything in it")
    look.add_argument("file")
    look.add_argument("--json", action="store_true", help="everything as one JSON object")
    look.add_argument(
        "--verify", action="store_true", help="read all of it and compare checksums; exit code 1 if damaged"
    )
    look.add_argument("--no-parameters", action="store_true", help="leave out the table of parameters")

    mean = jobs.add_parser("average", help="one model from the mean of several")
    mean.add_argument("--inputs", nargs="+", required=True, metavar="FILE", help="files, or one folder to choose from")
    mean.add_argument("--output", required=True, metavar="FILE", help="file to write")
    which = mean.add_mutually_exclusive_group()
    which.add_argument("--num-epoch-checkpoints", type=int, metavar="N", help="the last N of a folder, by epoch")
    which.add_argument("--num-update-checkpoints", type=int, metavar="N", help="the last N of a folder, by update")
    which.add_argument("--num-best-checkpoints", type=int, metavar="N", help="the best N of a folder")
    mean.add_argument("--maximize", action="store_true", help="with --num-best-checkpoints: larger is better")
    mean.add_argument(
        "--checkpoint-upper-bound", type=int, metavar="N", help="ignore what comes after epoch or update N"
    )

    change = jobs.add_parser(
        "convert", help="drop the optimizer state, change precision or file format (also back from safetensors)"
    )
    change.add_argument("input")
    change.add_argument("output", help="a name that ends in .safetensors is written in that format")
    change.add_argument("--strip-optimizer", action="store_true", help="a third of the size; training cannot go on")
    change.add_argument("--dtype", choices=DTYPES, help="of floating point parameters")
    change.add_argument("--checksum", action="store_true", help="also write OUTPUT.sha256")

    compare = jobs.add_parser("diff", help="compare options and parameters; exit code 1 if they differ")
    compare.add_argument("first")
    compare.add_argument("second")
    compare.add_argument("--tolerance", type=float, default=0.0, metavar="X", help="parameters may differ by this much")
    for job in (mean, change, compare):
        add_cli_options(job)
    return parser


def inspect(args: argparse.Namespace) -> int:
    """Print what ``describe`` finds."""
    from fairseq.checkpoint_utils.describe import describe, verify
    from fairseq.serialization.errors import shown

    found = describe(args.file)
    if args.verify:
        found.facts["checksums"] = verify(args.file)
    if args.json:
        rows = [{"name": n, "dtype": d, "shape": list(s), "elements": e} for n, d, s, e in found.parameters]
        body = {"facts": found.facts, "globals": found.names, "parameters": rows}
        print(json.dumps(body, indent=1, default=str))
        return 0
    width = max(map(len, found.facts))
    for label, value in found.facts.items():
        print(f"{label:{width}}  {'-' if value is None else shown(str(value), 4096)}")
    print("\nclasses and functions it mentions:")
    for name, is_safe in found.names.items():
        print(f"  {'safe   ' if is_safe else 'UNKNOWN'}  {shown(name)}")
    if not args.no_parameters and found.parameters:
        print("\nparameters:")
        width = max(len(shown(row[0])) for row in found.parameters)
        for name, dtype, shape, elements in found.parameters:
            print(f"  {shown(name):{width}}  {dtype:8}  {'x'.join(map(str, shape)) or 'scalar':>16}  {elements:>14,}")
    return 0


def average(args: argparse.Namespace) -> int:
    """Write the mean of the chosen files."""
    from fairseq.checkpoint_utils.average import average_checkpoints, choose_checkpoints
    from fairseq.serialization import write_checkpoint

    counts = {
        "epoch": args.num_epoch_checkpoints,
        "update": args.num_update_checkpoints,
        "best": args.num_best_checkpoints,
    }
    inputs = args.inputs
    chosen = {kind: count for kind, count in counts.items() if count is not None}
    if chosen:
        ((kind, count),) = chosen.items()
        if len(inputs) != 1 or not os.path.isdir(inputs[0]):
            raise ValueError(f"--num-{kind}-checkpoints chooses from one folder: --inputs FOLDER")
        inputs = choose_checkpoints(inputs[0], kind, count, args.checkpoint_upper_bound, args.maximize)
    elif args.checkpoint_upper_bound is not None:
        raise ValueError("--checkpoint-upper-bound needs --num-epoch-checkpoints or --num-update-checkpoints")
    print("averaging checkpoints:", *inputs, sep="\n  ")
    write_checkpoint(average_checkpoints(inputs), args.output)
    print(f"Finished writing averaged checkpoint to {args.output}")
    return 0


def _read(path: str) -> dict[str, Any]:
    from fairseq.checkpoint_utils.safetensors_format import read_safetensors
    from fairseq.serialization import read_checkpoint
    from fairseq.serialization.allowed import unsafe_load_wanted
    from fairseq.serialization.checks import check_options, check_weights

    state = read_safetensors(path) if path.endswith(".safetensors") else read_checkpoint(path, mmap=True)
    check_weights(path, state)
    check_options(path, state, trusted=unsafe_load_wanted())
    return state


def convert(args: argparse.Namespace) -> int:
    """Write a changed copy."""
    import torch

    from fairseq.checkpoint_utils.safetensors_format import write_safetensors
    from fairseq.serialization import write_checkpoint

    state = _read(args.input)
    if args.strip_optimizer:
        state.pop("last_optimizer_state", None)
    if args.dtype is not None:
        dtype = getattr(torch, args.dtype)
        for name, tensor in state["model"].items():
            if tensor.is_floating_point():
                state["model"][name] = tensor.to(dtype)
    if args.output.endswith(".safetensors"):
        write_safetensors(state, args.output)
    else:
        write_checkpoint(state, args.output, checksum=args.checksum)
    print(f"{args.input} -> {args.output} ({os.path.getsize(args.output):,} bytes)")
    return 0


def diff(args: argparse.Namespace) -> int:
    """Print what differs; 1 if anything does."""
    from fairseq.checkpoint_utils.describe import flat_config

    first, second = _read(args.first), _read(args.second)
    lines = []
    options = [flat_config({key: state.get(key) for key in ("args", "cfg")}) for state in (first, second)]
    for key in sorted(set(options[0]) | set(options[1])):
        a, b = (side.get(key, "(absent)") for side in options)
        if a != b:
            lines.append(f"option     {key}: {a!r} -> {b!r}")
    names = dict.fromkeys([*first["model"], *second["model"]])
    for name in names:
        line = _parameter_difference(first["model"].get(name), second["model"].get(name), args.tolerance)
        if line:
            lines.append(f"parameter  {name}: {line}")
    print("\n".join(lines) if lines else "no difference")
    return 1 if lines else 0


def _parameter_difference(a: Any, b: Any, tolerance: float) -> str | None:
    if a is None or b is None:
        return "only in the second file" if a is None else "only in the first file"
    if a.shape != b.shape:
        return f"shape {list(a.shape)} -> {list(b.shape)}"
    if a.numel() == 0:
        return None
    distance = float((a.double() - b.double()).abs().max())
    if distance > tolerance or distance != distance:
        norm = float((a.double() - b.double()).norm() / (a.double().norm() + 1e-30))
        return f"differs by up to {distance:.6g} (relative {norm:.3g})"
    return f"dtype {a.dtype} -> {b.dtype}" if a.dtype != b.dtype else None


JOBS = {"inspect": inspect, "average": average, "convert": convert, "diff": diff}


def cli_main(argv: Sequence[str] | None = None) -> int:
    """Run one job; returns the exit code."""
    setup_logging(stream=sys.stderr)
    args = get_parser().parse_args(argv)
    return JOBS[args.job](args)


def _exit_with_code() -> None:
    code = cli_main()
    if code:
        sys.stdout.flush()
        sys.exit(code)


def console_main() -> None:
    """The ``fairseq-checkpoint`` command: ``cli_main`` with errors as one line."""
    run_command(_exit_with_code, needs="JOB FILE")


if __name__ == "__main__":
    console_main()
