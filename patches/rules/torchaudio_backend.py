"""torchaudio.set_audio_backend and other parts torchaudio dropped."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..model import Patch, Rule

GONE = ("torchaudio.sox_effects", "torchaudio.info", "torchaudio.backend", "torchaudio.get_audio_backend")


class TorchaudioBackend(Rule):
    """The call goes away; what cannot be replaced is reported."""

    patch = Patch(
        id="torchaudio-removed",
        title="Parts that torchaudio 2.9 dropped",
        symptom="AttributeError: module 'torchaudio' has no attribute 'sox_effects'",
        cause="torchaudio chooses its backend by itself since 2.1, and 2.9 removed sox_effects, info and the backends.",
        since={"torch": "2.1"},
        fairseq="0.10 to main (audio_utils, speech tasks), plugins",
        change="torchaudio.set_audio_backend(...) statements are dropped; uses of sox_effects, info and "
        "backend are reported: read "
        "files with soundfile, resample with torchaudio.functional.resample.",
        matches=[
            ("module 'torchaudio' has no attribute",),
            ("no module named 'torchaudio.sox_effects'",),
            ("no module named 'torchaudio.backend'",),
            ("torchaudio", "set_audio_backend"),
        ],
        features=["torchaudio.set_audio_backend", *GONE],
        tokens=[b"torchaudio"],
        before="import torchaudio\ntorchaudio.set_audio_backend('soundfile')\nx = torchaudio.functional\n",
        after="import torchaudio\nx = torchaudio.functional\n",
        untouched=["import torchaudio\nx = torchaudio.transforms.Resample(1, 2)\n"],
    )

    def leave_Expr(self, original: Any, updated: Any) -> Any:
        call = original.value
        if isinstance(call, cst.Call) and self.ctx.origin(call.func, "torchaudio.set_audio_backend"):
            self.hit(original, "set_audio_backend is dropped")
            return cst.RemoveFromParent()
        return updated

    def visit_Attribute(self, original: Any) -> None:
        name = self.ctx.origin(original, *GONE)
        if name is not None:
            self.by_hand(original, f"{name} is gone: read with soundfile, change with torchaudio.functional")


RULE = TorchaudioBackend
