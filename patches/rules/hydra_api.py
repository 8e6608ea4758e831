"""Hydra's calls of version 1.0."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import argument, expression, with_keyword, without_argument
from ..model import Example, Patch
from ._calls import Rename

NAMES = {
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


class HydraApi(Rename):
    """compose(strict=), hydra.experimental, and a missing version_base."""

    names = NAMES
    patch = Patch(
        id="hydra-api",
        title="Calls of Hydra 1.0",
        symptom="TypeError: compose() got an unexpected keyword argument 'strict'",
        cause="Hydra 1.1 moved compose and initialize out of hydra.experimental, 1.2 wants to be told whose "
        "defaults to follow (version_base), and strict went away. Without strict=False the result refuses keys that "
        "FairseqConfig does not name, such as those of a registry that an example or a plugin adds.",
        since={"hydra": "1.1"},
        fairseq="0.10 to main (dataclass/initialize, dataclass/utils, hydra_train, hub_utils, checkpoint_utils)",
        change="strict=False is dropped and the result opened with OmegaConf.set_struct(cfg, False), "
        'version_base="1.1" is passed (Hydra composes and changes folders as before), and names are taken from hydra.',
        matches=[
            ("compose() got an unexpected keyword argument 'strict'",),
            ("the strict flag in the compose api is deprecated",),
            ("the version_base parameter is not specified",),
            ("hydra.experimental", "is no longer experimental"),
            ("no module named 'hydra.experimental'",),
            ("got an unexpected 'strict' argument",),
            ("key '", "not in 'fairseqconfig'"),
            ("key '", "is not in struct", "object_type=fairseqconfig"),
            ("key 'simul_type'",),
            ("cannot import name", "from 'hydra.experimental'"),
        ],
        features=["hydra.*", "hydra.experimental.*", *NAMES, *WITH_BASE, *COMPOSE],
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
from omegaconf import OmegaConf
from hydra import initialize, compose
import hydra

with initialize(config_path="config", version_base="1.1"):
    cfg = compose("config", overrides=[])
    OmegaConf.set_struct(cfg, False)


@hydra.main(config_path="config", config_name="config", version_base="1.1")
def run(cfg):
    return cfg
""",
        more=[
            Example(
                "from hydra import compose, initialize\n\nwith initialize():\n    compose('c')\n",
                "from hydra import compose, initialize\n\nwith initialize(version_base=\"1.1\"):\n    compose('c')\n",
            ),
            Example(
                "import hydra\n\n\ndef f(o):\n    return hydra.compose('c', o, strict=False)\n",
                "import hydra\nfrom _modern import with_struct\n\n\n"
                "def f(o):\n    return with_struct(hydra.compose('c', o), False)\n",
            ),
            Example(
                "from hydra import compose as make\nx = make('c', strict=True)\ny = len(make('c', strict=None))\n",
                "from hydra import compose as make\nx = make('c')\ny = len(make('c'))\n",
            ),
        ],
        untouched=[
            'import hydra\n\n@hydra.main(version_base=None, config_path="c")\ndef run(cfg):\n    pass\n',
            "def compose(a, strict):\n    pass\n\ncompose(1, strict=False)\n",
        ],
    )

    def __init__(self, ctx: Any) -> None:
        super().__init__(ctx)
        self.opened: list[str] = []

    def leave_Call(self, original: Any, updated: Any) -> Any:
        strict = self._strict(original)
        if strict is not None:
            return self._without_strict(original, updated, strict)
        takes_base = self.ctx.origin(original.func, *WITH_BASE) is not None
        given = argument(original, "version_base", 99) is not None or any(arg.star == "**" for arg in original.args)
        if takes_base and not given:
            # 1.1 keeps what fairseq counts on: overriding a group that the defaults list lacks (task=translation),
            # and, under hydra.main, running in the output folder.
            self.hit(original, 'version_base="1.1" is passed')
            return with_keyword(updated, "version_base", cst.SimpleString('"1.1"'))
        return updated

    def _strict(self, call: Any) -> Any:
        """The argument ``strict`` of a call of compose, else None."""
        origins = self.ctx.origins(call.func) or self.ctx.star_origins(call.func)
        if not origins or not origins <= set(COMPOSE):
            for arg in call.args:
                if arg.keyword is not None and arg.keyword.value == "strict" and self._is_partial_compose(call):
                    self.by_hand(call, "Hydra's compose has no strict: call OmegaConf.set_struct on its result")
            return None
        # The third place was strict in Hydra 1.0's hydra.experimental; hydra.compose has another argument there.
        return argument(call, "strict", 2 if origins == {"hydra.experimental.compose"} else None)

    def _is_partial_compose(self, call: Any) -> bool:
        return bool(
            call.args
            and self.ctx.origin(call.func, "functools.partial")
            and self.ctx.origins(call.args[0].value) & set(COMPOSE)
        )

    def _without_strict(self, original: Any, updated: Any, strict: Any) -> Any:
        index = list(original.args).index(strict)
        value = updated.args[index].value
        call = without_argument(updated, index)
        word = value.value if isinstance(value, cst.Name) else ""
        if word in ("True", "None"):
            # What compose returns is strict by itself.
            self.hit(original, "strict= is dropped")
            return call
        target = self._assigned_to(original) if word == "False" else None
        if target is not None:
            self.hit(original, "strict=False becomes OmegaConf.set_struct on the result")
            code = cst.Module(()).code_for_node(target)
            self.opened.append(f"{self.ctx.use('omegaconf', 'OmegaConf')}.set_struct({code}, False)")
            return call
        self.hit(original, "strict= becomes OmegaConf.set_struct on the result")
        wrap = expression(self.ctx.use_helper("with_struct"))
        bare = call.with_changes(lpar=(), rpar=())
        comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
        args = [cst.Arg(bare, comma=comma), cst.Arg(value)]
        return cst.Call(func=wrap, args=args, lpar=call.lpar, rpar=call.rpar)

    def _assigned_to(self, call: Any) -> Any:
        """``x`` where the call is all of a line ``x = compose(...)``, else None."""
        parents = self.ctx.ancestors
        if len(parents) < 2 or not isinstance(parents[-2], cst.SimpleStatementLine) or len(parents[-2].body) != 1:
            return None
        statement = parents[-1]
        if isinstance(statement, cst.Assign) and len(statement.targets) == 1:
            target = statement.targets[0].target
        elif isinstance(statement, cst.AnnAssign):
            target = statement.target
        else:
            return None
        return target if statement.value is call and isinstance(target, (cst.Name, cst.Attribute)) else None

    def leave_SimpleStatementLine(self, original: Any, updated: Any) -> Any:
        if not self.opened or len(original.body) != 1 or isinstance(updated, cst.FlattenSentinel):
            return updated
        lines = [cst.parse_statement(line + "\n") for line in self.opened]
        self.opened = []
        return cst.FlattenSentinel([updated, *lines])


RULE = HydraApi
