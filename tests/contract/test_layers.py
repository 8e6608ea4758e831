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
     "compat.flags", "compat.hook", "compat.hydra_version", "compat.names", "compat", "py"],
    ["archives", "utils", "logging", "distributed", "file_io", "file_utils", "file_chunker_utils", "tokenizer", "pdb",
     "incremental_decoding_utils", "nan_detector", "runtime_flags", "unused_options"],
    ["dataclass", "config", "serialization", "compat.arch", "compat.namespace",
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
    ["training_loop", "options", "benchmark", "model_parallel"],
    ["hub_utils", "collect_env", "examples"],
]  # fmt: skip

# Boxes of one row that may use each other, because one of them is the other's part or contract.
SIDEWAYS = {
    ("search", "token_generation_constraints"),
    ("sequence_generator", "search"),
    ("sequence_generator", "ngram_repeat_block"),
    ("binarizer", "data"),
    ("file_chunker_utils", "file_io"),
    ("file_utils", "archives"),
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


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """Full names of a package's modules, and their files."""
    for path in sorted((ROOT / package).rglob("*.py")):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def eager_imports(path: Path, module: str) -> Iterator[str]:
    """What is imported when a module (full name) is, leaving out what is inside functions or type checks."""
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
                package = module.split(".")
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
    for module, path in modules("fairseq"):
        for target in eager_imports(path, module):
            if target.startswith("fairseq.") and module != "fairseq":
                yield module.removeprefix("fairseq."), target.removeprefix("fairseq.")


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


def groups_of_each_other(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components with more than one member, or one that imports itself (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in number:
                visit(target)
                lowest[node] = min(lowest[node], lowest[target])
            elif target in stack:
                lowest[node] = min(lowest[node], number[target])
        if lowest[node] == number[node]:
            group = [stack.pop()]
            while group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1 or node in graph.get(node, ()):
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in number:
            visit(node)
    return sorted(found)


def test_groups_of_modules_that_import_each_other_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"b"}, "d": {"e"}, "e": set(), "f": {"f"}}
    assert groups_of_each_other(graph) == [["b", "c"], ["f"]]


@pytest.mark.parametrize("package", ["fairseq", "fairseq_cli", "plugins", "patches"])
def test_no_eager_import_cycles(package: str) -> None:
    graph: dict[str, set[str]] = {}
    for module, path in modules(package):
        graph[module] = {t for t in eager_imports(path, module) if t.split(".")[0] == package and t != package}
    assert groups_of_each_other(graph) == []


@pytest.mark.parametrize("package", ["fairseq_cli", "plugins"])
def test_the_library_is_below_its_tools(package: str) -> None:
    """Nothing in the library but ``python -m fairseq`` imports a tool or a plugin, eagerly or not."""
    wrong = []
    for module, path in modules("fairseq"):
        if module == "fairseq.__main__":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            wrong += [f"{path}:{node.lineno} imports {name}" for name in names if name.split(".")[0] == package]
    assert wrong == []


def test_the_repair_tool_imports_no_library() -> None:
    wrong = [
        (module, target)
        for module, path in modules("patches")
        for target in eager_imports(path, module)
        if target.split(".")[0] in ("fairseq", "torch", "numpy")
    ]
    assert wrong == []


LOADED = "import sys; print(' '.join(sorted(m for m in sys.modules if m.startswith(%r))))"


def loaded_by(program: str, prefix: str) -> list[str]:
    code = program + "\n" + LOADED % (prefix,)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1].split() if done.stdout.strip() else []


def test_importing_fairseq_loads_a_few_small_modules() -> None:
    assert loaded_by("import fairseq", "fairseq") == [
        *("fairseq", "fairseq._lazy", "fairseq.compat", "fairseq.compat.hook", "fairseq.compat.names"),
        "fairseq.version",
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
