"""Defaults lists of Hydra 1.0, which had no ``_self_``."""

from __future__ import annotations

import posixpath
from typing import Any

from ..model import Example, Patch, Rule
from ..yaml_text import Defaults, read_defaults, with_self

# Groups of fairseq's own configuration; a list that names one of them in a tree that uses Hydra is Hydra's.
GROUPS = {
    "task", "model", "criterion", "optimizer", "lr_scheduler", "bpe", "tokenizer", "scoring", "simul_type",
    "generation", "common", "common_eval", "eval_lm", "dataset", "checkpoint", "optimization",
    "distributed_training", "interactive", "bmuf", "ema", "model_ema",
}  # fmt: skip


class HydraSelf(Rule):
    """``- _self_`` becomes the first entry of a primary configuration's defaults list."""

    patch = Patch(
        id="hydra-self",
        title="Defaults lists without _self_",
        symptom="hydra.errors.ConfigCompositionException: Could not override 'task._name'. (Defaults list is missing "
        "`_self_`)",
        cause="Hydra 1.0 laid the chosen groups over the configuration that names them. Since 1.1 a list without "
        "_self_ is read as if it stood last, so the empty values of the configuration win over the chosen task and "
        "model. version_base does not change that.",
        since={"hydra": "1.1"},
        fairseq="forks of 0.10 to main, configurations of recipes",
        change="- _self_ becomes the first entry of the list, in configurations that a run is started from. "
        "Configurations that belong to a group, and lists that use words of Hydra 1.1 (override), stay.",
        matches=[
            ("could not override '", "._name'"),
            ("configcompositionexception", "could not override"),
            ("defaults list is missing '_self_'",),
            ("default_composition_order",),
        ],
        tokens=[b"defaults"],
        files=["*.yaml", "*.yml"],
        before="""\
# @package _group_

defaults:
    # what is trained
    - task: null
    - model: wav2vec2  # or hubert
    - criterion: cross_entropy

common:
  seed: 1
""",
        after="""\
# @package _group_

defaults:
    - _self_
    # what is trained
    - task: null
    - model: wav2vec2  # or hubert
    - criterion: cross_entropy

common:
  seed: 1
""",
        more=[
            Example(
                "hydra:\n  run:\n    dir: .\ndefaults:\n- task: null\n- model: [a, b]\n  optional: true\nx: 1\n",
                "hydra:\n  run:\n    dir: .\ndefaults:\n- _self_\n- task: null\n- model: [a, b]\n"
                "  optional: true\nx: 1\n",
            ),
            Example(
                "# @package _global_\ndefaults: [{task: null}, base]  # all\n",
                "# @package _global_\ndefaults: [_self_, {task: null}, base]  # all\n",
            ),
        ],
        untouched=[
            "# @package _group_\ndefaults:\n  - task: null\n  - _self_\n",
            "# @package _global_\ndefaults:\n  - override /task: translation\n  - model: x\n",
            "name: env\nchannels:\n  - defaults\ndependencies:\n  - task\n",
            "hydra:\n  a: 1\ndefaults:\n  run:\n    shell: bash\n",
            "hydra: {}\ndefaults: &defaults\n  - task: null\n",
            "hydra: {}\ndefaults:\n  - scope:\n      path: ''\n    values:\n      layout: default\n",
            "defaults:\n  - model: bert\n  - color: blue\n",
            "hydra: {}\nother:\n  defaults:\n    - task: null\n",
            "hydra: {}\ntext: |\n  defaults:\n    - task: null\n",
            "# @package _group_\nx: 1\n---\ndefaults:\n  - task: null\n",
            "hydra: {}\ndefaults: []\n",
        ],
    )

    def rewrite_text(self, text: str) -> str:
        found = read_defaults(text)
        if found is None or found.has_self or found.modern or not (found.groups or found.included):
            return text
        if self._belongs_to_another() or not self._is_hydras(found):
            return text
        self.ctx.record(self.patch.id, found.line + 1, "_self_ becomes the first entry of the defaults list")
        return with_self(text, found)

    def _belongs_to_another(self) -> bool:
        """Whether another configuration chooses this file, as an option of a group or by its name."""
        path: str = self.ctx.path
        stem = posixpath.splitext(path)[0]
        hydra: Any = self.ctx.options.index.hydra
        return posixpath.dirname(path) in hydra.groups or stem in hydra.included

    def _is_hydras(self, found: Defaults) -> bool:
        if found.package or found.hydra:
            return True
        folder, name = posixpath.split(self.ctx.path)
        hydra = self.ctx.options.index.hydra
        if any(posixpath.join(folder, group) in hydra.folders for group in found.groups):
            return True
        named = {posixpath.splitext(name)[0], posixpath.basename(folder)} & hydra.names
        return hydra.used and bool(named or GROUPS.intersection(found.groups))


RULE = HydraSelf
