"""Hydra's calls of version 1.0."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import argument, drop_argument, with_keyword
from ..model import Example, Patch
from ._calls import Rename


class HydraApi(Rename):
    """compose(strict=), hydra.experimental, and a missing version_base."""

    names = {
        "hydra.experimental.compose": "hydra:compose",
        "hydra.experimental.initialize": "hydra:initialize",
        "hydra.experimental.initialize_config_dir": "hydra:initialize_config_dir",
        "hydra.experimental.initialize_config_module": "hydra:initialize_config_module",
    }
    WITH_BASE = (
        "hydra.main",
        "hydra.initialize",
        "hydra.initialize_config_dir",
        "hydra.initialize_config_module",
        "hydra.experimental.initialize",
        "hydra.experimental.initialize_config_dir",
        "hydra.experimental.initialize_config_module",
    )
    COMPOSE = ("hydra.compose", "hydra.experimental.compose")
    patch = Patch(
        id="hydra-api",
        title="Calls of Hydra 1.0",
        symptom="TypeError: compose() got an unexpected keyword argument 'strict'",
        cause="Hydra 1.1 moved compose and initialize out of hydra.experimental, 1.2 wants to be told whose "
        "defaults to "
        "follow (version_base), and strict went away.",
        since={"hydra": "1.1"},
        fairseq="0.10 to main (dataclass/initialize, dataclass/utils, hydra_train, hub_utils, checkpoint_utils)",
        change='strict= is dropped, version_base="1.1" is passed (Hydra composes and changes folders as '
        "before), and names "
        "are taken from hydra.",
        matches=[
            ("compose() got an unexpected keyword argument 'strict'",),
            ("the strict flag in the compose api is deprecated",),
            ("the version_base parameter is not specified",),
            ("hydra.experimental", "is no longer experimental"),
            ("no module named 'hydra.experimental'",),
            ("cannot import name", "from 'hydra.experimental'"),
        ],
        tokens=[b"hydra"],
        before="""\
import hydra
from hydra.experimental import compose, initialize

with initialize(config_path="config"):
    cfg = compose("config", overrides=[], strict=False)


@hydra.main(config_path="config", config_name="config")
def run(cfg):
    return cfg
""",
        after="""\
from hydra import initialize, compose
import hydra

with initialize(config_path="config", version_base="1.1"):
    cfg = compose("config", overrides=[])


@hydra.main(config_path="config", config_name="config", version_base="1.1")
def run(cfg):
    return cfg
""",
        more=[
            Example(
                "from hydra import compose, initialize\n\nwith initialize():\n    compose('c')\n",
                "from hydra import compose, initialize\n\nwith initialize(version_base=\"1.1\"):\n    compose('c')\n",
            )
        ],
        untouched=[
            'import hydra\n\n@hydra.main(version_base=None, config_path="c")\ndef run(cfg):\n    pass\n',
            "def compose(a, strict):\n    pass\n\ncompose(1, strict=False)\n",
        ],
    )

    def leave_Call(self, original: Any, updated: Any) -> Any:
        if self.ctx.origin(original.func, *self.COMPOSE) and argument(original, "strict") is not None:
            self.hit(original, "strict= is dropped")
            return drop_argument(updated, "strict")
        takes_base = self.ctx.origin(original.func, *self.WITH_BASE) is not None
        given = argument(original, "version_base", 99) is not None or any(arg.star == "**" for arg in original.args)
        if takes_base and not given:
            # 1.1 keeps what fairseq counts on: overriding a group that the defaults list lacks (task=translation),
            # and, under hydra.main, running in the output folder.
            self.hit(original, 'version_base="1.1" is passed')
            return with_keyword(updated, "version_base", cst.SimpleString('"1.1"'))
        return updated


RULE = HydraApi
