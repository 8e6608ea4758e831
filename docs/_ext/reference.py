"""Write the reference pages when the documentation is built: the tools' options, the components, the API.

The options come from the parsers that the tools use, the components from the registries, the API from the sources,
which are read and not imported. Nothing of it is kept in the repository, so nothing of it can be out of date.
"""

from __future__ import annotations

import argparse
import ast
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("fairseq", "fairseq_cli")
# Options that every tool shares are described once, with `fairseq-train`.
KINDS = ("task", "criterion", "optimizer", "lr_scheduler", "tokenizer", "bpe", "scoring")


def escape(text: str) -> str:
    """Plain text as it may stand in a table cell."""
    return re.sub(r"([\\`*_{}\[\]<>|$#])", r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """Text as code in a table cell."""
    return f"`{text}`".replace("|", r"\|") if text and "`" not in text else escape(text)


# ------------------------------------------------------------------ options


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The tools' parsers; subcommands follow their tool."""
    from fairseq import collect_env, options
    from fairseq_cli import checkpoint, score

    yield "fairseq-preprocess", options.get_preprocessing_parser()
    yield "fairseq-train", options.get_training_parser()
    yield "fairseq-generate", options.get_generation_parser()
    yield "fairseq-interactive", options.get_interactive_generation_parser()
    yield "fairseq-validate", options.get_validation_parser()
    yield "fairseq-eval-lm", options.get_eval_lm_parser()
    yield "fairseq-score", score.get_parser()
    yield "fairseq-checkpoint", checkpoint.get_parser()
    yield "fairseq-env", collect_env.get_parser()


def kind_of(action: argparse.Action) -> str:
    """What an option's argument is."""
    if isinstance(action.nargs, int) and action.nargs == 0:
        return ""
    if action.choices is not None and len(list(action.choices)) <= 8:
        return ", ".join(map(str, action.choices))
    return action.metavar if isinstance(action.metavar, str) else getattr(action.type, "__name__", "") or "text"


def option_table(actions: list[argparse.Action]) -> list[str]:
    """One line for each option."""
    lines = ["| option | value | default | |", "|---|---|---|---|"]
    for action in actions:
        names = ", ".join(action.option_strings) or action.dest
        default = action.default
        shown = "" if default in (None, False, argparse.SUPPRESS) or not action.option_strings else str(default)
        text = action.help or ""
        lines.append(f"| {code(names)} | {escape(kind_of(action))} | {code(shown)} | {escape(text)} |")
    return lines


def documented(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[argparse.Action]]]:
    """Groups of a parser with their options, without ``--help`` and what is hidden."""
    for group in parser._action_groups:
        actions = [
            action
            for action in group._group_actions
            if action.help != argparse.SUPPRESS
            and not isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))
        ]
        if actions:
            yield group.title or "options", actions


def same(one: argparse.Action, other: argparse.Action) -> bool:
    """Whether two tools mean the same by an option."""
    keys = ("option_strings", "default", "help", "nargs")
    return all(getattr(one, key) == getattr(other, key) for key in keys)


def command_line() -> str:
    """The page about the tools."""
    lines = ["# Command-line reference", ""]
    lines += [
        "Options that a tool shares with `fairseq-train` are listed there only. What `--arch`, `--task` and other"
    ]
    lines += ["names add is in [](components.md).", ""]
    shared: dict[str, argparse.Action] = {}
    for tool, parser in parsers():
        lines += [f"## {tool}", "", escape(parser.description or ""), ""]
        hidden = 0
        for title, actions in documented(parser):
            new = [a for a in actions if tool == "fairseq-train" or a.dest not in shared or not same(a, shared[a.dest])]
            hidden += len(actions) - len(new)
            if new:
                lines += [f"**{escape(title)}**", "", *option_table(new), ""]
        if hidden:
            lines += [f"and {hidden} options of `fairseq-train`.", ""]
        if tool == "fairseq-train":
            shared = {action.dest: action for _, actions in documented(parser) for action in actions}
        lines += subcommands(tool, parser)
    lines += ["## fairseq-hydra-train", ""]
    lines += [
        "The same settings, as `group.name=value`: `optimization.lr=[0.001]` for `--lr 0.001`. `--cfg job` prints"
    ]
    lines += ["all of them with their values; `--config-dir` and `--config-name` choose YAML files of one's own.", ""]
    return "\n".join(lines)


def subcommands(tool: str, parser: argparse.ArgumentParser) -> list[str]:
    """The jobs of a tool that has several."""
    lines = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            about = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, inner in action.choices.items():
                lines += [f"### {tool} {name}", "", escape(about.get(name, "")), ""]
                for _, actions in documented(inner):
                    lines += [*option_table(actions), ""]
    return lines


# ------------------------------------------------------------------ components


def own_options(cls: Any) -> list[argparse.Action]:
    """The options that choosing a component adds."""
    parser = argparse.ArgumentParser(add_help=False)
    if hasattr(cls, "add_args"):
        cls.add_args(parser)
    elif getattr(cls, "__dataclass", None) is not None:
        from fairseq.dataclass.utils import gen_parser_from_dataclass

        gen_parser_from_dataclass(parser, getattr(cls, "__dataclass")())
    return [action for _, actions in documented(parser) for action in actions]


def summary(cls: Any) -> str:
    """First sentence of a class's own docstring."""
    text = (cls.__dict__.get("__doc__") or "").strip().split("\n\n")[0]
    # A dataclass without a docstring has its signature in that place.
    return "" if text.startswith(cls.__name__ + "(") else escape(text.replace("``", ""))


def components() -> str:
    """The page about models, tasks and everything else that has a name."""
    from fairseq import _index, models, tasks
    from fairseq.registry import REGISTRIES

    lines = ["# Models, tasks and other components", ""]
    lines += ["What can be named on the command line, and the options each name adds."]
    lines += ["", "## Models", ""]
    for name in sorted(_index.ENTRIES["model"]):
        archs = sorted(arch for arch, (model, _) in _index.ARCHS.items() if model == name)
        lines += [*component(name, models.MODEL_REGISTRY[name]), "`--arch` " + ", ".join(f"`{a}`" for a in archs), ""]
    for kind in KINDS:
        registry = tasks.TASK_REGISTRY if kind == "task" else REGISTRIES[kind]["registry"]
        lines += [f"## `--{kind.replace('_', '-')}`", ""]
        for name in sorted(_index.ENTRIES[kind]):
            lines += component(name, registry[name])
    return "\n".join(lines)


def component(name: str, cls: Any) -> list[str]:
    """Heading, summary and options of one component."""
    actions = own_options(cls)
    lines = [f"### {name}", "", f"`{cls.__module__}.{cls.__qualname__}`. {summary(cls)}", ""]
    return [*lines, *option_table(actions), ""] if actions else lines


# ------------------------------------------------------------------ API


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """Public modules of a package with their files, by name."""
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        if not any(part.startswith("_") and part != "__init__" for part in parts):
            yield name, path


def exported(tree: ast.Module) -> list[str]:
    """The names in ``__all__``, as far as they are written out."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            found = node.value
            if isinstance(found, (ast.List, ast.Tuple)):
                return [item.value for item in found.elts if isinstance(item, ast.Constant)]
    return []


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef, drop_self: bool = False) -> str:
    """``name(arguments) -> result``."""
    arguments = ast.unparse(node.args)
    if drop_self:
        arguments = re.sub(r"^(self|cls)(, )?", "", arguments)
    return f"{node.name}({arguments})" + (f" -> {ast.unparse(node.returns)}" if node.returns else "")


def text_block(text: str) -> list[str]:
    """A docstring as it was written."""
    return ["```text", text.strip().replace("```", "'''"), "```", ""] if text.strip() else []


def entry(node: ast.stmt) -> list[str]:
    """A function, or a class with its public methods."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return ["```python", f"def {signature(node)}", "```", "", *text_block(ast.get_docstring(node) or "")]
    assert isinstance(node, ast.ClassDef)
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    lines = ["```python", f"class {node.name}({bases})" if bases else f"class {node.name}", "```", ""]
    lines += text_block(ast.get_docstring(node) or "")
    for item in node.body:
        is_public = isinstance(item, ast.FunctionDef) and (not item.name.startswith("_") or item.name == "__init__")
        about = ast.get_docstring(item) if isinstance(item, ast.FunctionDef) else None
        if is_public and isinstance(item, ast.FunctionDef) and about:
            lines += ["```python", f"{node.name}.{signature(item, drop_self=True)}", "```", "", *text_block(about)]
    return lines


def api_page(package: str) -> str:
    """All public names that are defined in a package's modules."""
    lines = [f"# {package}", ""]
    for name, path in modules(package.replace(".", "/")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        public = set(exported(tree))
        nodes = [
            node
            for node in tree.body
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name in public
        ]
        about = ast.get_docstring(tree) or ""
        if not nodes and not about:
            continue
        lines += [f"## {escape(name)}", "", *text_block(about)]
        for node in nodes:
            lines += entry(node)
    return "\n".join(lines)


def api_packages() -> list[str]:
    """``fairseq`` itself is too long for one page: one for each of its packages, one for its modules."""
    inner = sorted(path.parent.name for path in (ROOT / "fairseq").glob("*/__init__.py"))
    return [f"fairseq.{name}" for name in inner if not name.startswith("_")]


def top_level() -> str:
    """The page of the modules directly below ``fairseq``."""
    pages = [api_page("fairseq")]
    kept: list[str] = []
    for part in re.split(r"(?m)^(?=## )", pages[0]):
        name = part.splitlines()[0].removeprefix("## ").replace("\\", "")
        if name.count(".") <= 1 and not (ROOT / name.replace(".", "/")).is_dir():
            kept.append(part)
    return "# fairseq\n\n" + "".join(kept).removeprefix("# fairseq\n\n")


def write_all(target: Path) -> list[Path]:
    """Write every page below a folder that is made anew; returns the files."""
    shutil.rmtree(target, ignore_errors=True)
    pages = {"cli.md": command_line(), "components.md": components(), "api/fairseq.md": top_level()}
    for package in [*api_packages(), "fairseq_cli"]:
        pages[f"api/{package}.md"] = api_page(package)
    listed = "\n".join(f"{path.removeprefix('api/').removesuffix('.md')}" for path in pages if path.startswith("api/"))
    about = "Generated from the sources. A name is public if its module lists it in `__all__`."
    pages["api/index.md"] = f"# API reference\n\n{about}\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"
    for name, text in pages.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(text.rstrip() + "\n", encoding="utf-8")
    return [target / name for name in pages]


def setup(app: Any) -> dict[str, Any]:
    """The hook that Sphinx calls."""
    sys.argv = sys.argv[:1]  # parsers look for --user-dir there; the words are Sphinx's
    app.connect("builder-inited", lambda app: write_all(Path(app.srcdir) / "reference"))
    return {"version": "1", "parallel_read_safe": True}
