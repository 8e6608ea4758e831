#!/usr/bin/env python3
"""Translating on a GPU: steps by the modules, by the engine, and recorded ones, in every number format.

    python benchmarks/gpu_translating.py --data DATA-BIN --checkpoint FILE      a trained transformer, its test set
    python benchmarks/gpu_translating.py                                        made-up weights and sentences
    python benchmarks/gpu_translating.py --memory                               memory of long outputs

All cells run in one process, in turns on the same sentences; one JSON line each. A cell goes over the sentences twice:
the first time libraries choose their kernels and steps are recorded, the second time counts. It stops in the middle
when its time is up. Without a GPU it runs on the CPU, where nothing is recorded.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CUDA = torch.cuda.is_available()
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
SIZE = "--share-decoder-input-output-embed --encoder-normalize-before --decoder-normalize-before"


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, help="binarised data (default: made-up sentences)")
    parser.add_argument("--checkpoint", type=Path, help="a transformer (default: made-up weights, iwslt size)")
    parser.add_argument("--subset", default="test", help="part of the data (default: %(default)s)")
    parser.add_argument("--sentences", type=int, default=1024, help="how many (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, help="sentences per batch (default: %(default)s)")
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument(
        "--limit", type=float, default=6.0, metavar="S", help="seconds of one pass (default: %(default)s)"
    )
    parser.add_argument("--steps", nargs="+", default=["modules", "engine", "cuda_graph"])
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=list(PRECISIONS))
    parser.add_argument("--memory", action="store_true", help="one batch of long outputs per cell instead")
    parser.add_argument("--length", type=int, default=1024, help="words of those outputs (default: %(default)s)")
    parser.add_argument("--layers", type=int, help="decoder layers of made-up weights (default: that of the size)")
    return parser


def made_up(args: argparse.Namespace) -> tuple[Any, Any, list[torch.Tensor]]:
    """A model with random weights, its dictionary, and sources of random words."""
    from fairseq import options
    from fairseq.data import Dictionary
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.tasks.translation import TranslationTask

    words = Dictionary()
    for i in range(8000):
        words.add_symbol(f"w{i}")
    layers = ["--decoder-layers", str(args.layers)] if args.layers else []
    argv = [".", "-s", "a", "-t", "b", "--arch", "transformer_iwslt_de_en", *SIZE.split(), *layers]
    parsed = options.parse_args_and_arch(
        options.get_training_parser(), [*argv, "--optimizer", "adam", "--max-tokens", "9"]
    )
    cfg = convert_namespace_to_omegaconf(parsed)
    torch.manual_seed(1)
    model = TranslationTask(cfg.task, words, words).build_model(cfg.model)
    lengths = torch.randint(5, 30, (args.sentences,)).tolist()
    return model, words, [torch.cat([torch.randint(4, 8000, (n,)), torch.tensor([words.eos()])]) for n in lengths]


def given(args: argparse.Namespace) -> tuple[Any, Any, list[torch.Tensor]]:
    """The model of a checkpoint, its dictionary, and the sources of a subset."""
    from fairseq import checkpoint_utils

    models, cfg, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(args.checkpoint)], arg_overrides={"data": str(args.data)}
    )
    task.load_dataset(args.subset, task_cfg=cfg.task)
    data = task.dataset(args.subset)
    count = min(args.sentences, len(data))
    return (
        models[0],
        task.target_dictionary,
        [data[i]["source"] for i in range(0, len(data), len(data) // count)][:count],
    )


def batches(sources: Sequence[torch.Tensor], size: int, pad: int, device: str) -> list[dict[str, Any]]:
    """Sources of about the same length together, longest first, left-padded, on the device."""
    from fairseq.data.data_utils import collate_tokens

    order = sorted(range(len(sources)), key=lambda i: -len(sources[i]))
    found = []
    for start in range(0, len(order), size):
        part = order[start : start + size]
        tokens = collate_tokens([sources[i] for i in part], pad, left_pad=True).to(device)
        lengths = torch.tensor([len(sources[i]) for i in part], device=device)
        ids = torch.tensor(part, device=device)
        found.append({"id": ids, "net_input": {"src_tokens": tokens, "src_lengths": lengths}})
    return found


def wait() -> None:
    """Until the device has done everything."""
    if CUDA:
        torch.cuda.synchronize()


def one_pass(generator: Any, work: list[Any], limit: float) -> tuple[float, int, list[list[int]]]:
    """Translate until the time is up: ``(seconds, sentences, best hypotheses)``."""
    wait()
    start, sentences, best = time.perf_counter(), 0, []
    for sample in work:
        found = generator.generate(None, sample)
        best += [hypotheses[0]["tokens"] for hypotheses in found]
        sentences += len(found)
        if time.perf_counter() - start > limit:
            break
    wait()
    return time.perf_counter() - start, sentences, [tokens.tolist() for tokens in best]


def make_generator(args: argparse.Namespace, model: Any, words: Any, steps: str, long: int = 0) -> Any:
    """A generator; ``long`` outputs have exactly so many words, the others at most 1.2 x source + 8."""
    from fairseq.sequence_generator import SequenceGenerator

    limits = (
        {"max_len_a": 0, "max_len_b": long - 1, "min_len": long - 1} if long else {"max_len_a": 1.2, "max_len_b": 8}
    )
    generator = SequenceGenerator([model], words, beam_size=args.beam, **limits)  # type: ignore[arg-type]
    generator.stepping = steps
    return generator


def speed(args: argparse.Namespace, generator: Any, work: list[Any]) -> tuple[dict[str, Any], list[list[int]]]:
    """Sentences per second of the second pass."""
    first, _, _ = one_pass(generator, work, args.limit)
    seconds, sentences, best = one_pass(generator, work, args.limit)
    words = sum(map(len, best))
    return {
        "sentences_per_s": round(sentences / seconds, 1),
        "words_per_s": round(words / seconds),
        "sentences": sentences,
        "first_pass_s": round(first, 2),
        "second_pass_s": round(seconds, 2),
    }, best


def memory(generator: Any, sample: Any) -> dict[str, Any]:
    """Peak memory of one batch, less what was there before, in MB (10**6 bytes)."""
    if CUDA:
        # The generator before may still be held by a ring of references.
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    seconds, _, best = one_pass(generator, [sample], 1e9)
    found: dict[str, Any] = {"length": len(best[0]), "seconds": round(seconds, 2)}
    if CUDA:
        peak = torch.cuda.max_memory_allocated()
        return {**found, "peak_mb": round(peak / 1e6), "without_model_mb": round((peak - before) / 1e6)}
    # The process's own peak: it only grows, so on a CPU measure one cell at a time.
    return {**found, "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)}


def cells(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One figure per way of stepping and number format."""
    model, words, sources = given(args) if args.checkpoint else made_up(args)
    device = "cuda" if CUDA else "cpu"
    model = model.to(device).eval()
    model.make_generation_fast_()
    work = batches(sources, args.batch_size, words.pad(), device)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    about = {"device": torch.cuda.get_device_name() if CUDA else "cpu", "torch": torch.__version__, "beam": args.beam}
    about["batch_size"] = args.batch_size
    for precision in args.precisions:
        # From the exact weights each time: what was rounded stays rounded.
        model.to(PRECISIONS[precision]).load_state_dict(state)
        expected: list[list[int]] | None = None
        for steps in args.steps:
            cell = {"steps": steps, "precision": precision, **about}
            try:
                if args.memory:
                    yield {**cell, **memory(make_generator(args, model, words, steps, args.length), work[0])}
                    continue
                found, best = speed(args, make_generator(args, model, words, steps), work)
            except (RuntimeError, AssertionError) as error:
                yield {**cell, "error": str(error).splitlines()[0]}
                continue
            expected = expected or best
            same = sum(a == b for a, b in zip(expected, best)) / max(min(len(expected), len(best)), 1)
            yield {**cell, **found, f"same_as_{args.steps[0]}": round(same, 4)}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the cells."""
    args = get_parser().parse_args(argv)
    if bool(args.data) != bool(args.checkpoint):
        sys.exit("--data and --checkpoint belong together")
    for cell in cells(args):
        print(json.dumps(cell), flush=True)


if __name__ == "__main__":
    main()
