"""Every patch against the rule it is about: the error comes before, and is gone after ``apply``.

Where the Python at hand still has a module that newer ones lack, the module is hidden.
"""

from __future__ import annotations

import multiprocessing
import runpy
import sys
import types
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple, Type

import pytest
from packaging.version import Version

from fairseq_patches.cli import main
from fairseq_patches.registry import RULES

torch = pytest.importorskip("torch")

# patch id -> (program, exception, part of its text, modules to hide)
Case = Tuple[str, Type[BaseException], str, Tuple[str, ...]]
CASES: Dict[str, Case] = {}


def case(name: str, program: str, error: Type[BaseException], text: str = "", hide: Tuple[str, ...] = ()) -> None:
    CASES[name] = (program, error, text, hide)


def card(name: str) -> str:
    return RULES[name].patch.before


if sys.version_info >= (3, 11):
    case("dataclass-mutable-default", card("dataclass-mutable-default"), ValueError, "mutable default")
    case("inspect-getargspec", "import inspect\nx = "
                               "inspect.getargspec(print_function)\n".replace("print_function", "lambda a: a"),
         AttributeError, "getargspec")  # fmt: skip
    case("random-sample-set", card("random-sample-set"), TypeError, "Population must be a sequence")
case(
    "dataclass-field-default",
    """\
from dataclasses import dataclass, field
from omegaconf import OmegaConf

@dataclass
class Inner:
    x: int = 1

@dataclass
class Root:
    inner: Inner = field(default_factory=Inner)

stored = [OmegaConf.structured(Root.__dataclass_fields__[k].default) for k in Root.__dataclass_fields__]
assert stored[0].x == 1
""",
    Exception,
    "_MISSING_TYPE",
)
case(
    "torch-load",
    """\
import argparse, io, torch

stream = io.BytesIO()
torch.save({"args": argparse.Namespace(arch="lstm"), "model": {"w": torch.ones(2)}}, stream)
stream.seek(0)
state = torch.load(stream, map_location="cpu")
assert state["args"].arch == "lstm" and state["model"]["w"].sum() == 2
""",
    Exception,
    "Weights only load failed",
)
case("torch-six", card("torch-six"), ModuleNotFoundError, "torch._six")
case(
    "torch-linalg",
    "import torch\ne, v = torch.symeig(torch.eye(2), eigenvectors=True)\nassert e.sum() == 2\n",
    Exception,
    "symeig",
)
case(
    "torch-cuda-amp",
    "import torch\nwith torch.cuda.amp.autocast(enabled=False):\n    x = 1\n",
    FutureWarning,
    "deprecated",
)
case("torch-bool-masks", "import torch\nx = torch.ones(2)\ny = x.masked_fill(x.eq(1).byte(), 0)\nassert y.sum() == 0\n",
     RuntimeError, "bool")  # fmt: skip
case(
    "torch-integer-division",
    card("torch-integer-division") + "\nassert Beam().step(2).tolist() == [2, 3]\n",
    RuntimeError,
    "can't be cast",
)
case(
    "torch-backward-hook",
    """\
import torch

class Two(torch.nn.Module):
    def forward(self, x, y):
        return x * 2, y * 3

module = Two()
module.register_backward_hook(lambda module, before, after: None)
a, b = module(torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True))
(a + b).sum().backward()
""",
    Warning,
    "non-full backward hook",
)
case(
    "torch-encoder-fastpath",
    "import torch\nb, w = torch.zeros(4), torch.zeros(4, 4)\npadding = torch.tensor([[False, True]])\n"
    "with torch.no_grad():\n    y = torch._transformer_encoder_layer_fwd(\n"
    "        torch.ones(1, 2, 4), 4, 2, torch.zeros(12, 4), torch.zeros(12), w, b, False, False, 1e-5,\n"
    "        b, b, b, b, w, b, w, b, padding)\nassert y.shape == (1, 2, 4)\n",
    RuntimeError,
    "Mask Type",
)
case("torch-meshgrid-indexing", "import torch\ntorch.set_warn_always(True)\n"
                                "x, y = torch.meshgrid(torch.arange(2), torch.arange(3))\n",
     UserWarning, "indexing")  # fmt: skip
case("torch-optimizer-required", card("torch-optimizer-required") + "assert f()\n", ImportError, "required")
if not torch.cuda.is_available():
    case("torch-cuda-tensor-types", card("torch-cuda-tensor-types"), Exception)
case("numpy-aliases", card("numpy-aliases"), AttributeError, "float")
case("numpy-2-names", card("numpy-2-names"), AttributeError, "float_")
case("numpy-compat-long", card("numpy-compat-long"), AttributeError, "compat")
case("numpy-generator-randint", card("numpy-generator-randint"), AttributeError, "randint")
case("numpy-copy-false", "import numpy as np\nx = np.array([1, 2], copy=False)\n", ValueError, "Unable to avoid copy")
case("pkg-resources", card("pkg-resources"), ModuleNotFoundError, "pkg_resources", hide=("pkg_resources",))
case(
    "imp-module",
    "import imp\nm = imp.load_source('m', 'other.py')\nassert m.x == 1\n",
    ModuleNotFoundError,
    "imp",
    hide=("imp",),
)
case("distutils-module", card("distutils-module") + "assert yes == 1\n", ModuleNotFoundError, "distutils",
     hide=("distutils", "distutils.util"))  # fmt: skip
case("invalid-escape", card("invalid-escape"), SyntaxError, "invalid escape sequence")
case("is-literal", "def f(label):\n    return label is not ''\nassert not f('')\n", SyntaxError, "literal")
case("collections-abc", card("collections-abc"), ImportError, "Iterable")
case(
    "argparse-percent",
    "import argparse\np = argparse.ArgumentParser()\np.add_argument('--x', help='keep 50% of all')\n"
    "assert '50% of' in p.format_help()\n",
    (ValueError, TypeError),  # type: ignore[arg-type]
)
case(
    "torch-local-rank",
    "import argparse\nparser = argparse.ArgumentParser()\n"
    "parser.add_argument('--device-id', '--local_rank', default=0, type=int)\n"
    "assert parser.parse_args(['--local-rank=3']).device_id == 3\n",
    SystemExit,
    "2",
)
# int | None prints as Optional[int] does on Python 3.14.
case(
    "typing-optional-text",
    card("typing-optional-text") + "\n\nassert is_optional(int | None) and not is_optional(int)\n",
    AssertionError,
)
case(
    "omegaconf-primitive-type",
    card("omegaconf-primitive-type") + "\n\nimport argparse\nassert wrap({'a': argparse.Namespace(b=1)}).a.b == 1\n",
    AttributeError,
    "is_primitive_type",
)
case(
    "version-string-compare",
    "import other\nnew = other.__version__ >= '1.10'\nold = other.__version__ < '1.9'\nassert new and not old\n",
    AssertionError,
)
case(
    "hydra-api",
    "import hydra\nwith hydra.initialize_config_dir(config_dir='/'):\n    pass\n",
    UserWarning,
    "version_base",
)
case("sacrebleu-2", card("sacrebleu-2") + "assert x.score >= 0\n", AttributeError, "compute_bleu")
case("yaml-load", "import yaml\nassert yaml.load('a: 1') == {'a': 1}\n", TypeError, "Loader")
case(
    "transformers-past",
    "from transformers import GPT2LMHeadModel\nassert GPT2LMHeadModel(1, past=2) == 2\n",
    TypeError,
    "past",
)
case("torchaudio-removed", card("torchaudio-removed"), AttributeError, "set_audio_backend")
if sys.version_info >= (3, 14):
    case("torch-jit-script", card("torch-jit-script"), Warning, "3.14")  # a FutureWarning from PyTorch 2.15 on


@pytest.fixture
def workbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, Tuple[str, ...]], None]]:
    """Runs ``module.py`` of a folder with every warning an error; stands in for packages that need not be installed."""
    transformers = types.ModuleType("transformers")
    transformers.GPT2LMHeadModel = lambda x, past_key_values=None: past_key_values  # type: ignore[attr-defined]
    torchaudio = types.ModuleType("torchaudio")
    torchaudio.functional = None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    monkeypatch.setitem(sys.modules, "torchaudio", torchaudio)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.py").write_text("x = 1\n__version__ = '1.10.1'\n")

    def run(hide: Tuple[str, ...]) -> None:
        for name in ("_modern", "other"):
            sys.modules.pop(name, None)
        with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
            for name in hide:
                patched.setitem(sys.modules, name, None)
            warnings.simplefilter("error")
            # Hydra 1.3 announces that 1.4 will not offer 1.1's behaviour; the requirement says <1.4.
            warnings.filterwarnings("ignore", message="(?s).*selects Hydra 1.1 compatibility")
            runpy.run_path("module.py")

    yield run  # type: ignore[misc]
    for name in ("_modern", "other"):
        sys.modules.pop(name, None)
    torch.set_warn_always(False)


# Errors that only newer versions have: case -> (package, first version with the error)
SINCE = {
    "numpy-2-names": ("numpy", "2"),
    "numpy-compat-long": ("numpy", "2"),
    "numpy-copy-false": ("numpy", "2"),
    "torch-load": ("torch", "2.6"),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_error_is_real_and_the_patch_removes_it(
    name: str, tmp_path: Path, workbench: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    program, error, text, hide = CASES[name]
    package, first = SINCE.get(name, ("torch", "2"))
    if Version(version(package)) < Version(first):
        pytest.skip(f"{package} {version(package)} has no such error")
    for needed in ("omegaconf", "hydra", "sacrebleu", "yaml"):
        if f"import {needed}" in program or f"from {needed}" in program:
            pytest.importorskip(needed)
    if name == "torch-optimizer-required":
        import torch.optim.optimizer as module

        monkeypatch.delattr(module, "required", raising=False)
    (tmp_path / "module.py").write_text(program)
    with pytest.raises(error) as caught:
        workbench(hide)
    assert text in str(caught.value)
    assert main(["check", str(tmp_path), "--only", name]) == 1
    assert main(["apply", str(tmp_path), "--only", name]) == 0
    workbench(hide)
    assert main(["check", str(tmp_path), "--only", name]) == 0
    assert main(["revert", str(tmp_path)]) == 0
    assert (tmp_path / "module.py").read_text() == program


def test_workers_that_need_fork_get_it(tmp_path: Path, workbench: Callable[..., None]) -> None:
    before = multiprocessing.get_start_method(allow_none=True)
    program = (
        "from torch.utils.data import DataLoader\n"
        "loader = DataLoader([1, 2], num_workers=1, collate_fn=lambda batch: batch)\n"
        "assert [batch for batch in loader] == [[1], [2]]\n"
    )
    (tmp_path / "module.py").write_text(program)
    try:
        multiprocessing.set_start_method("spawn", force=True)
        with pytest.raises(Exception, match="pickle|get local"):
            workbench(())
        assert main(["apply", str(tmp_path), "--only", "multiprocessing-fork"]) == 0
        with warnings.catch_warnings():
            workbench(())
    finally:
        multiprocessing.set_start_method(before, force=True)


def test_a_script_decorator_is_gone_but_the_function_still_compiles(
    tmp_path: Path, workbench: Callable[..., None]
) -> None:
    (tmp_path / "module.py").write_text(card("torch-jit-script"))
    assert main(["apply", str(tmp_path), "--only", "torch-jit-script"]) == 0
    double = runpy.run_path(str(tmp_path / "module.py"))["double"]
    assert isinstance(double, types.FunctionType) and double(torch.ones(1)).item() == 2


def _setup(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Dict[str, Any]:
    import setuptools

    seen: Dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", lambda **options: seen.update(options))
    runpy.run_path(str(folder / "setup.py"))
    return seen


def test_setup_py_builds_only_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("setuptools")
    (tmp_path / "setup.py").write_text(card("setup-extensions"))
    (tmp_path / "fairseq" / "examples").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError):
        _setup(tmp_path, monkeypatch)
    assert main(["apply", str(tmp_path), "--only", "setup-extensions"]) == 0
    assert _setup(tmp_path, monkeypatch)["ext_modules"] == []
    (tmp_path / "a.cpp").write_text("")
    assert [extension.name for extension in _setup(tmp_path, monkeypatch)["ext_modules"]] == ["a"]


def test_pins_that_pip_refuses_admit_a_current_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = pytest.importorskip("packaging.requirements")
    # What pip 24.1 says of omegaconf 2.0.6: its own metadata is invalid, so no release below 2.1 is left.
    with pytest.raises(requirements.InvalidRequirement, match="suffix can only be used"):
        requirements.Requirement("PyYAML (>=5.1.*)")
    (tmp_path / "requirements.txt").write_text("omegaconf<2.1\nhydra-core>=1.0.7,<1.1  # old\nregex\n")
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["omegaconf<2.1", "torch"]\n')
    (tmp_path / "setup.py").write_text(card("setup-pins"))
    assert main(["apply", str(tmp_path), "--only", "setup-pins"]) == 0
    lines: List[str] = (tmp_path / "requirements.txt").read_text().splitlines()
    assert lines == ["omegaconf>=2.3", "hydra-core>=1.3,<1.4  # old", "regex"]
    assert '["omegaconf>=2.3", "torch"]' in (tmp_path / "pyproject.toml").read_text()
    wanted = [requirements.Requirement(item) for item in _setup(tmp_path, monkeypatch)["install_requires"]]
    assert next(item for item in wanted if item.name == "omegaconf").specifier.contains("2.3.0")


def test_every_rewrite_is_shown_on_its_error() -> None:
    elsewhere = {"multiprocessing-fork", "torch-jit-script", "setup-extensions", "setup-pins", "cython-numpy-names"}
    elsewhere.add("hydra-self")  # test_hydra_era.py
    newer = {"dataclass-mutable-default", "inspect-getargspec", "random-sample-set", "torch-cuda-tensor-types"}
    assert set(RULES) - set(CASES) - elsewhere - newer == set()


def test_an_unsafe_load_is_only_made_on_request(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("import torch\nx = torch.load('a.pt')\n")
    assert main(["apply", str(tmp_path), "--allow-unsafe-load"]) == 0
    assert (tmp_path / "module.py").read_text() == "import torch\nx = torch.load('a.pt', weights_only=False)\n"
    assert not (tmp_path / "_modern.py").exists()
