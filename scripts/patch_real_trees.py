"""Patch real releases of fairseq and use them: the end-to-end proof of ``patches/``. Downloads, so it is opt-in.

    python scripts/patch_real_trees.py --python /path/to/python3.12 --python /path/to/python3.13

Each Python needs torch, numpy, cython, setuptools, omegaconf, hydra-core and fairseq's light dependencies; the one that
runs this script needs LibCST. Per release and Python: patch, install without build isolation, import, preprocess,
train an LSTM and a transformer for two epochs, resume for a third, generate, read old checkpoints
(``--checkpoints DIR``), and at the end revert and compare every byte; then the same with a fork of the release: a
defaults list without ``_self_``, a plugin with a registry of its own, packages of others, another beam search.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("0.9.0", "0.10.2", "0.12.2")
TRAIN = [
    "--task",
    "translation",
    "-s",
    "aa",
    "-t",
    "bb",
    "--dropout",
    "0",
    "--optimizer",
    "adam",
    "--lr",
    "0.01",
    "--lr-scheduler",
    "fixed",
    "--max-tokens",
    "400",
    "--cpu",
    "--num-workers",
    "0",
    "--seed",
    "1",
    "--log-format",
    "simple",
]
SMALL = {
    "lstm": "--arch lstm --encoder-embed-dim 16 --encoder-hidden-size 16 --decoder-embed-dim 16 "
    "--decoder-hidden-size 16 --decoder-out-embed-dim 16",
    "transformer": "--arch transformer --encoder-embed-dim 16 --encoder-ffn-embed-dim 32 --encoder-layers 1 "
    "--encoder-attention-heads 2 --decoder-embed-dim 16 --decoder-ffn-embed-dim 32 --decoder-layers 1 "
    "--decoder-attention-heads 2 --criterion label_smoothed_cross_entropy --label-smoothing 0.1",
}
# Runs inside the patched tree: one import, then every command in a child of its own.
DRIVER = """\
import json, os, runpy, sys, traceback
import torch
torch.set_num_threads(1)
import fairseq
print("imported", fairseq.__file__, "torch", torch.__version__, flush=True)
def read(path):
    from fairseq import checkpoint_utils
    state = checkpoint_utils.load_checkpoint_to_cpu(path)
    print(path, state.get("args") or state["cfg"], sum(value.numel() for value in state["model"].values()))
for tool, argv, log in json.load(open(sys.argv[1])):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        with open(log, "w") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        sys.argv = [tool, *argv]
        try:
            if tool == "read":
                read(*argv)
            else:
                runpy.run_module("fairseq_cli." + tool, run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as err:
            code = err.code if isinstance(err.code, int) else int(err.code is not None)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush(); sys.stderr.flush()
        os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print("ok  " if status == 0 else "FAIL", os.path.basename(log), flush=True)
    if status:
        print("".join(open(log).readlines()[-25:]), flush=True)
"""


def fetch(version: str, work: Path, python: str) -> Path:
    """Unpacked source distribution of a release, downloaded once."""
    place = work / "orig" / f"fairseq-{version}"
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = work / "download"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    # --no-clean: the metadata step of 0.10.2 fails on the unpatched tree, which lies unpacked by then.
    command = (
        f"-m pip download -q --no-clean --no-binary :all: --no-deps --no-build-isolation fairseq=={version}".split()
    )
    environment = {**os.environ, "TMPDIR": str(scratch)}
    subprocess.run([python, *command, "-d", str(scratch)], env=environment, stderr=subprocess.DEVNULL, check=False)
    archives = list(scratch.glob("*.tar.gz"))
    if archives:
        with tarfile.open(archives[0]) as archive:
            archive.extractall(place.parent, filter="data")
    else:
        found = [path.parent for path in scratch.glob("pip-*/fairseq_*/setup.py")]
        if not found:
            raise RuntimeError(f"pip could not download the sources of fairseq {version}")
        shutil.copytree(found[0], place, symlinks=True)
    return place


# What forks have and releases lack; each was found in real trees.
PLUGIN = """\
from fairseq import registry

made = registry.setup_registry("--simul-type")
"""
OLD = "import numpy as np\n\nx = np.float(1)\n"
FOREIGN = (".eggs/old-1.egg/old.py", "build/lib/old.py", "node_modules/old/old.py", "venv/lib/site-packages/old.py")
BUFFER = "\n\ndef make_buffer(like):\n    return like.new().long()\n"


def fork(tree: Path) -> None:
    """Make of a release what a fork of its time looks like.

    Its defaults list has no ``_self_``, a plugin adds a registry, packages of others lie in the tree, and the beam
    search makes its buffers out of sight.
    """
    for config in tree.glob("fairseq/config/*.yaml"):
        lines = config.read_text().splitlines(keepends=True)
        config.write_text("".join(line for line in lines if line.strip() != "- _self_"))
    (tree / "plugin").mkdir()
    (tree / "plugin" / "__init__.py").write_text(PLUGIN)
    for name in FOREIGN:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(OLD)
    (tree / "venv" / "pyvenv.cfg").write_text("")
    search = tree / "fairseq" / "search.py"
    text = search.read_text()
    for name in ("indices_buf", "beams_buf"):
        text = text.replace(f"self.{name} = torch.LongTensor().to(device=t.device)", f"self.{name} = make_buffer(t)")
    search.write_text(text + BUFFER)


def foreign_is_untouched(tree: Path) -> bool:
    """Whether the packages of others that :func:`fork` put there are as they were."""
    return all((tree / name).read_text() == OLD for name in FOREIGN)


def tool(*args: object) -> subprocess.CompletedProcess[str]:
    """Run fairseq-patch from this checkout."""
    loader = (
        "import importlib.util as u, sys; "
        f"s = u.spec_from_file_location('fairseq_patches', {str(ROOT / 'patches' / '__init__.py')!r}, "
        f"submodule_search_locations=[{str(ROOT / 'patches')!r}]); "
        "m = u.module_from_spec(s); sys.modules['fairseq_patches'] = m; s.loader.exec_module(m); "
        "from fairseq_patches.cli import main; raise SystemExit(main())"
    )
    return subprocess.run([sys.executable, "-c", loader, *map(str, args)], capture_output=True, text=True, check=False)


def same_trees(left: Path, right: Path) -> list[str]:
    """Paths that differ between two folders."""
    differences = []
    for one, other in ((left, right), (right, left)):
        for path in one.rglob("*"):
            twin = other / path.relative_to(one)
            if path.is_file() and not path.is_symlink() and not (twin.is_file() and filecmp.cmp(path, twin, False)):
                differences.append(str(path.relative_to(one)))
    return differences


def corpus(folder: Path) -> None:
    """A made-up language pair: the target is the source backwards in capitals."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(7)
    for split, count in (("train", 60), ("valid", 12), ("test", 10)):
        rows = [[draw.choice("abcdefgh") * draw.randint(1, 2) for _ in range(draw.randint(2, 6))] for _ in range(count)]
        (folder / f"{split}.aa").write_text("".join(" ".join(row) + "\n" for row in rows))
        (folder / f"{split}.bb").write_text("".join(" ".join(row[::-1]).upper() + "\n" for row in rows))


def commands(
    run: Path, checkpoints: Path | None, version: str, plugin: Path | None = None
) -> list[tuple[str, list[str], str]]:
    """``(tool, arguments, log file)`` of every step."""
    data = str(run / "data")
    text = run / "text"
    pairs = ["-s", "aa", "-t", "bb", "--destdir"]
    prefixes = [f"--{split}pref={text / split}" for split in ("train", "valid", "test")]
    steps: list[tuple[str, list[str], str]] = [("preprocess", [*pairs, data, *prefixes], "preprocess")]
    for name, options in SMALL.items():
        saved = str(run / name)
        train = [data, *TRAIN, *options.split(), "--save-dir", saved]
        train += ["--user-dir", str(plugin)] if plugin is not None else []
        steps.append(("train", [*train, "--max-epoch", "2"], f"train-{name}"))
        steps.append(("train", [*train, "--max-epoch", "3"], f"resume-{name}"))
        read = ["--path", f"{saved}/checkpoint_best.pt", "--beam", "3", "--cpu", "--max-tokens", "200"]
        steps.append(("generate", [data, "-s", "aa", "-t", "bb", *read], f"generate-{name}"))
    for path in sorted(checkpoints.glob("*.pt")) if checkpoints else []:
        dictionaries = {"transformer_align": "joined", "transformer_bpe": "bpe"}.get(path.stem, "mt")
        # Releases before 0.12 know one flat namespace only.
        if version.startswith(("0.9", "0.10")) and not path.stem.startswith("old"):
            continue
        steps.append(("read", [str(path)], f"read-{path.stem}"))
        # Language models have no source side to generate from, and 0.9 does not know 0.10's name for the output layer.
        if path.stem in ("roberta", "target_lm", "transformer_lm") or (
            version.startswith("0.9") and "lstm" not in path.stem
        ):
            continue
        folder = run / f"data-{dictionaries}"
        dicts = checkpoints / "dicts" / dictionaries if checkpoints else Path()
        given = ["--srcdict", str(dicts / "dict.aa.txt"), "--tgtdict", str(dicts / "dict.bb.txt")]
        if not any(log == f"preprocess-{dictionaries}" for _, _, log in steps):
            steps.append(("preprocess", [*pairs, str(folder), prefixes[2], *given], f"preprocess-{dictionaries}"))
        read = ["--path", str(path), "--beam", "2", "--cpu", "--max-len-b", "10"]
        steps.append(("generate", [str(folder), "-s", "aa", "-t", "bb", *read], f"old-{path.stem}"))
    return [(name, argv, str(run / f"{log}.log")) for name, argv, log in steps]


def prove(version: str, python: str, args: argparse.Namespace, tree: Path, name: str) -> bool:
    """Install the patched tree for one Python and use it; True when every step went well."""
    label = subprocess.run(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=True
    ).stdout.strip()
    run = args.work / f"run-{name}-{label}"
    site = args.work / f"site-{name}-{label}"
    for folder in (run, site):
        shutil.rmtree(folder, ignore_errors=True)
    build = args.work / f"build-{name}-{label}"
    # What was compiled by an earlier run stays, so that only changed sources are compiled again.
    shutil.copytree(tree, build, symlinks=True, dirs_exist_ok=True)
    install = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target"]
    done = subprocess.run([python, *install, str(site), str(build)], capture_output=True, text=True, check=False)
    print(f"{'ok  ' if done.returncode == 0 else 'FAIL'} install", flush=True)
    if done.returncode:
        print("\n".join((done.stdout + done.stderr).splitlines()[-30:]))
        return False
    corpus(run / "text")
    plugin = build / "plugin" if (build / "plugin").exists() else None
    (run / "steps.json").write_text(json.dumps(commands(run, args.checkpoints, version, plugin)))
    (run / "driver.py").write_text(DRIVER)
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [python, "driver.py", "steps.json"], cwd=run, env=environment, text=True, stdout=subprocess.PIPE, check=False
    )
    print(done.stdout, end="", flush=True)
    return done.returncode == 0 and "FAIL" not in done.stdout


def try_tree(version: str, original: Path, args: argparse.Namespace, forked: bool) -> list[str]:
    """Patch a release, or a fork of it, use it on every Python, and revert; returns what failed."""
    name = version + ("-fork" if forked else "")
    failed = []
    tree, before = args.work / f"patched-{name}", args.work / f"before-{name}"
    for folder in (tree, before):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, before, symlinks=True)
    if forked:
        fork(before)
    shutil.copytree(before, tree, symlinks=True)
    start = time.monotonic()
    done = tool("apply", tree)
    print(f"== {name}: {done.stdout}{done.stderr} {time.monotonic() - start:.0f} s", flush=True)
    if forked and not foreign_is_untouched(tree):
        failed.append(f"{name}: packages of others were changed")
    for check, want in (("check", 0), ("apply", 0)):
        again = tool(check, tree, "--json", "--no-cache")
        if again.returncode != want or json.loads(again.stdout)["changed"]:
            failed.append(f"{name}: {check} after apply still finds something")
    for python in args.python or [sys.executable]:
        print(f"-- {name} on {python}", flush=True)
        if not prove(version, python, args, tree, name):
            failed.append(f"{name} on {python}")
    done = tool("revert", tree)
    differences = same_trees(before, tree)
    print(f"revert: {done.stdout.strip()} {len(differences)} files differ", flush=True)
    if done.returncode or differences:
        failed.append(f"{name}: revert")
    return failed


def main() -> int:
    """Run the proof; returns 1 when a step failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--python", action="append", help="a Python to prove it on (repeatable; default: this one)")
    parser.add_argument(
        "--work", type=Path, default=Path("/tmp/fairseq-trees"), help="scratch folder, outside any repository"
    )
    parser.add_argument("--checkpoints", type=Path, help="folder with old checkpoints and their dicts/")
    parser.add_argument("--versions", nargs="+", default=VERSIONS, help="releases")
    args = parser.parse_args()
    failed = []
    for version in args.versions:
        original = fetch(version, args.work, sys.executable)
        for forked in (False, True):
            failed += try_tree(version, original, args, forked)
    print("\n".join(["", *(f"FAILED {item}" for item in failed)]) if failed else "\nall steps went well")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
