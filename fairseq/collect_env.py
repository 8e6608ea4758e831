"""What a bug report needs to know of an installation: versions, compiled parts, devices, plugins.

    fairseq-env                  as text
    fairseq-env --json           as one JSON object
    python -m fairseq.collect_env

Nothing here may fail: what cannot be found out is reported as missing, with the reason.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Sequence
from typing import Any

from fairseq.compat.suggest import Parser
from fairseq.logging.lines import forget_standard_output, use_utf8

__all__ = ["collect", "main", "render"]

# Distributions in the order in which a maintainer asks for them; the second group is optional.
REQUIRED = ("torch", "numpy", "omegaconf", "hydra-core", "sacrebleu", "bitarray", "cython", "regex", "tqdm")
OPTIONAL = (
    *("torchaudio", "sentencepiece", "tokenizers", "transformers", "sacremoses", "subword-nmt", "nltk", "bert-score"),
    *("tensorboard", "wandb", "safetensors", "huggingface-hub", "libcst"),
)
# compiled module -> the module that says which version of it is used
EXTENSIONS = {
    "fairseq.data._kernels.batching": "fairseq.data._kernels.batching_numpy",
    "fairseq.data._kernels.token_blocks": "fairseq.data._kernels.token_blocks_numpy",
    "fairseq.data._kernels.token_table": "fairseq.data.text_files.token_counts",
}
# What changes how a tool behaves; values are shown, so nothing secret belongs here.
VARIABLES = (
    *("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "LOGLEVEL", "PYTHONPATH"),
    *("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK"),
)


def collect() -> dict[str, dict[str, Any]]:
    """Everything, as sections of plain values; ``None`` means that something is not there."""
    return {
        "fairseq": _fairseq(),
        "system": _system(),
        "required packages": {name: _version(name) for name in REQUIRED},
        "optional packages": {name: _version(name) for name in OPTIONAL},
        "torch": _torch(),
        "compiled extensions": {name: _extension(name) for name in EXTENSIONS},
        "shipped plugins": _plugins(),
        "environment": {name: os.environ[name] for name in _variables()},
    }


def _fairseq() -> dict[str, Any]:
    import fairseq
    from fairseq import _index

    return {
        "version": fairseq.__version__,
        "location": os.path.dirname(os.path.abspath(fairseq.__file__)),
        **{f"registered: {kind}": len(names) for kind, names in sorted(_index.ENTRIES.items())},
        "registered: architecture": len(_index.ARCHS),
    }


def _system() -> dict[str, Any]:
    return {
        "python": sys.version.split()[0],
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _torch() -> dict[str, Any]:
    try:
        import torch
    except Exception as error:  # a broken PyTorch is what the report is about
        return {"cannot be imported": f"{type(error).__name__}: {error}"}
    found: dict[str, Any] = {
        "version": torch.__version__,
        "built for CUDA": torch.version.cuda,
        "cuDNN": torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None,
        "threads": torch.get_num_threads(),
        "distributed backends": ", ".join(_backends(torch)) or None,
    }
    try:
        for number in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(number)
            size = f"{device.total_memory / 2**30:.0f} GiB"
            found[f"GPU {number}"] = f"{device.name}, {size}, sm_{device.major}{device.minor}"
    except Exception as error:
        found["GPUs"] = f"{type(error).__name__}: {error}"
    return found


def _backends(torch: Any) -> list[str]:
    if not torch.distributed.is_available():
        return []
    return [name for name in ("gloo", "nccl", "mpi") if getattr(torch.distributed, f"is_{name}_available")()]


def _extension(name: str) -> str | None:
    if os.environ.get("FAIRSEQ_NO_EXTENSIONS", "0") not in ("", "0"):
        return "switched off by FAIRSEQ_NO_EXTENSIONS"
    try:
        module = importlib.import_module(name)
        user = importlib.import_module(EXTENSIONS[name])
    except ModuleNotFoundError:
        return None
    except Exception as error:  # built for another Python or NumPy
        return f"{type(error).__name__}: {error}"
    is_current = getattr(module, "KERNEL_VERSION", None) == user.KERNEL_VERSION
    return f"{module.__file__}{'' if is_current else ' (built from older code: not used)'}"


def _plugins() -> dict[str, str]:
    """Folders that ``--user-dir NAME`` finds without a path."""
    import fairseq

    package = os.path.dirname(os.path.abspath(fairseq.__file__))
    for home in ("plugins", "fairseq_plugins"):
        folder = os.path.join(os.path.dirname(package), home)
        if os.path.isdir(folder):
            names = sorted(entry for entry in os.listdir(folder) if not entry.startswith(("_", ".")))
            paths = {name: os.path.join(folder, name) for name in names}
            return {name: path for name, path in paths.items() if os.path.isfile(os.path.join(path, "__init__.py"))}
    return {}


def _variables() -> list[str]:
    own = sorted(name for name in os.environ if name.startswith(("FAIRSEQ_", "TORCH_FORCE_", "NCCL_", "SLURM_N")))
    return [name for name in (*own, *VARIABLES) if name in os.environ]


def render(found: dict[str, dict[str, Any]]) -> str:
    """The report as text, one section after the other."""
    lines = []
    for title, values in found.items():
        lines += [title, *(f"  {label:26}  {'-' if value is None else value}" for label, value in values.items()), ""]
    return "\n".join(lines[:-1])


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = Parser(description="Print what a bug report needs.")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("--version", action="store_true", help="the version of fairseq alone")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Print the report."""
    args = get_parser().parse_args(argv)
    use_utf8()
    if args.version:
        from fairseq.version import __version__

        print(f"fairseq {__version__}")
        return
    found = collect()
    try:
        print(json.dumps(found, indent=1) if args.json else render(found), flush=True)
    except BrokenPipeError:  # a reader that has seen enough
        forget_standard_output()


if __name__ == "__main__":
    main()
