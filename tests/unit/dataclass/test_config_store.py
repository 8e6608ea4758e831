"""Hydra's config store after ``import fairseq``: every name is there, and reading one loads that one."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest

from fairseq import _index
from fairseq.dataclass.config_store import LazyGroup

BEFORE = "import fairseq\nfrom hydra.core.config_store import ConfigStore\n"
AFTER = "from hydra.core.config_store import ConfigStore\nimport fairseq\n"
LOOK = """
import sys
store = ConfigStore.instance()
assert 'transformer_lm.yaml' in store.list('model') and 'adam.yaml' in store.list('optimizer'), store.list('')
assert 'config.yaml' in store.list('') and 'hydra' in store.repo
families = lambda: [name for name in sys.modules if name.startswith(('fairseq.models.', 'fairseq.tasks.', 'torch.'))]
assert not families(), families()
node = store.load('task/language_modeling.yaml').node
assert node.tokens_per_sample == 1024 and node._name == 'language_modeling'
assert 'fairseq.models.lstm' not in sys.modules
"""
COMPOSE = """
import warnings
from hydra import compose, initialize
with initialize(version_base='1.3'):
    cfg = compose('config', overrides=['+task=language_modeling', 'task.data=here', 'common.seed=7'])
assert (cfg.common.seed, cfg.task.data, cfg.optimization.max_update) == (7, 'here', 0)
from fairseq.dataclass import FairseqDataclass
from dataclasses import dataclass
from fairseq.criterions import FairseqCriterion, register_criterion
@dataclass
class OwnConfig(FairseqDataclass):
    shade: int = 5
@register_criterion('own', dataclass=OwnConfig)
class Own(FairseqCriterion):
    pass
assert store.load('criterion/own.yaml').node.shade == 5
"""


@pytest.mark.parametrize("start", [BEFORE, AFTER], ids=["fairseq first", "Hydra first"])
def test_a_program_that_imports_fairseq_can_compose(start: str) -> None:
    program = start + LOOK + (COMPOSE if start == BEFORE else "")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_component_with_a_config_class_has_a_node() -> None:
    import hydra.core.config_store as hydra_store

    repo = hydra_store.ConfigStore.instance().repo
    for group, classes in _index.DATACLASSES.items():
        for name in classes:
            assert f"{name}.yaml" in repo[group]
            assert repo[group][f"{name}.yaml"].provider == "fairseq"
            assert repo[group][f"{name}.yaml"].node._name == name


def test_a_copy_of_the_store_leaves_unread_what_was_not_read() -> None:
    group = LazyGroup({"a.yaml": "no.such.module:Config"}, "task")
    group["b.yaml"] = 1
    other = copy.deepcopy(group)
    assert sorted(other) == ["a.yaml", "b.yaml"] and other["b.yaml"] == 1 and isinstance(other, dict)
    with pytest.raises(ModuleNotFoundError):
        other["a.yaml"]
    with pytest.raises(KeyError):
        other["c.yaml"]
