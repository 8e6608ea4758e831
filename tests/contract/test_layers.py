"""Imports go downwards only, and importing the package stays cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Row -> boxes. A module may import from lower rows, and from its own box; never from another box of its row.
ROWS: list[list[str]] = [
    ["_index", "_lazy", "version", "registry", "compat.suggest", "compat.torch", "compat.numpy", "compat.python",
     "compat.aliases", "compat.flags", "compat.hydra_store", "compat.hydra_version", "compat.old_names", "compat",
     "py"],
    ["utils", "logging", "distributed", "file_io", "file_utils", "file_chunker_utils", "tokenizer", "pdb",
     "incremental_decoding_utils", "nan_detector", "meters", "metrics", "progress_bar", "distributed_utils"],
    ["dataclass", "config", "serialization", "compat.allowed", "compat.arch", "compat.checkpoints", "compat.namespace",
     "models", "models.fairseq_model", "models.fairseq_encoder", "models.fairseq_decoder",
     "models.fairseq_incremental_decoder", "models.composite_encoder", "models.distributed_fairseq_model",
     "models.ema", "models.model_utils", "models.feature_forward"],
    ["modules", "data", "optim", "scoring", "binarizer", "quantization_utils"],
    ["models.*"],
    ["criterions", "search", "sequence_generator", "sequence_scorer", "token_generation_constraints",
     "ngram_repeat_block", "iterative_refinement_generator"],
    ["tasks"],
    ["checkpoint_utils"],
    ["trainer"],
    ["training", "options", "benchmark"],
    ["hub_utils", "collect_env"],
]  # fmt: skip

# Boxes of one row that may use each other, because one of them is the other's part or contract.
SIDEWAYS = {
    ("search", "token_generation_constraints"),
    ("sequence_generator", "search"),
    ("sequence_generator", "ngram_repeat_block"),
    ("binarizer", "data"),
    ("meters", "logging"),
    ("metrics", "logging"),
    ("progress_bar", "logging"),
    ("distributed_utils", "distributed"),
    ("file_chunker_utils", "file_io"),
    ("file_utils", "file_io"),
    ("utils", "file_io"),
    ("logging", "utils"),
    ("logging", "distributed"),
    ("distributed", "utils"),
    ("nan_detector", "utils"),
    ("quantization_utils", "modules"),
}


def box_of(module: str) -> tuple[int, str]:
    """Row and box of a module named without ``fairseq.``: the longest entry that fits."""
    best: tuple[int, int, str] | None = None
    for row, boxes in enumerate(ROWS):
        for box in boxes:
            stem = box.removesuffix(".*")
            exact = module == stem or (module.startswith(stem + ".") and box != "models")
            if exact and (box != "models.*" or module != "models") and (best is None or len(stem) > best[0]):
                best = (len(stem), row, stem if box != "models.*" else module.split(".")[1])
    assert best is not None, f"fairseq.{module} is in no row: add it to the table"
    return best[1], best[2]


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / "fairseq").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "fairseq").with_suffix("").parts)
        yield name.removesuffix(".__init__").replace("__init__", ""), path


def eager_imports(path: Path, module: str) -> Iterator[str]:
    """``fairseq`` modules imported when this one is, leaving out what is inside functions or type checks."""
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = ("fairseq." + module).split(".")
                package = package if path.name == "__init__.py" else package[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                is_module = (ROOT / (full.replace(".", "/") + ".py")).exists() or (
                    ROOT / full.replace(".", "/") / "__init__.py"
                ).exists()
                yield full if is_module else base
        todo.extend(ast.iter_child_nodes(node))


def edges() -> Iterator[tuple[str, str]]:
    for module, path in modules():
        if module:
            for target in eager_imports(path, module):
                if target.startswith("fairseq."):
                    yield module, target.removeprefix("fairseq.")


def test_every_import_goes_down_or_stays_in_its_box() -> None:
    wrong = []
    for module, target in edges():
        (row, box), (target_row, target_box) = box_of(module), box_of(target)
        same = box == target_box
        if target_row > row or (target_row == row and not same and (box, target_box) not in SIDEWAYS and row != 0):
            # The contracts and the families are one public package; a family may use another family.
            if row == target_row == 4 or (row == target_row == 2 and {box, target_box} <= set(ROWS[2])):
                continue
            wrong.append(f"{module} (row {row}) -> {target} (row {target_row})")
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_no_eager_import_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for module, target in edges():
        graph.setdefault(module, set()).add(target)
    seen: dict[str, int] = {}
    stack: list[str] = []
    cycles: list[str] = []

    def visit(node: str) -> None:
        seen[node] = 1
        stack.append(node)
        for following in sorted(graph.get(node, ())):
            if seen.get(following) == 1:
                cycles.append(" -> ".join([*stack[stack.index(following) :], following]))
            elif following not in seen:
                visit(following)
        stack.pop()
        seen[node] = 2

    for node in sorted(graph):
        if node not in seen:
            visit(node)
    assert not cycles, "\n".join(cycles)


LOADED = "import sys; print(' '.join(sorted(m for m in sys.modules if m.startswith(%r))))"


def loaded_by(program: str, prefix: str) -> list[str]:
    code = program + "\n" + LOADED % (prefix,)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1].split() if done.stdout.strip() else []


def test_importing_fairseq_loads_a_few_small_modules() -> None:
    assert loaded_by("import fairseq", "fairseq") == [
        *("fairseq", "fairseq._lazy", "fairseq.compat", "fairseq.compat.hydra_store", "fairseq.version"),
    ]
    assert not {"torch", "hydra", "omegaconf", "numpy"} & set(loaded_by("import fairseq", ""))


@pytest.mark.parametrize("tool", ["preprocess", "train", "generate", "interactive", "score", "validate", "eval_lm"])
def test_help_loads_no_family_and_no_heavy_package(tool: str) -> None:
    program = (
        f"import sys; sys.argv = ['fairseq-{tool}', '--help']\n"
        f"from fairseq_cli import {tool}\n"
        f"try:\n    {tool}.cli_main()\nexcept SystemExit:\n    pass\n"
    )
    heavy = {"torchaudio", "transformers", "sacrebleu", "hydra", "tensorboard"}
    loaded = loaded_by(program, "")
    assert not heavy & set(loaded)
    contracts = {"models." + box for row in ROWS for box in row if box.startswith("models.fairseq")}
    families = [
        name
        for name in loaded
        if name.startswith(("fairseq.models.", "fairseq.tasks.", "fairseq.criterions."))
        and name.removeprefix("fairseq.") not in contracts
        and not name.endswith(("fairseq_task", "fairseq_criterion"))
    ]
    assert not families


def test_every_submodule_is_an_attribute() -> None:
    import fairseq

    assert fairseq.data.dictionary.Dictionary is fairseq.data.Dictionary
    assert fairseq.models.fairseq_model.BaseFairseqModel is fairseq.models.BaseFairseqModel
    with pytest.raises(AttributeError, match="no attribute 'nothing_like_it'"):
        fairseq.nothing_like_it  # noqa: B018
