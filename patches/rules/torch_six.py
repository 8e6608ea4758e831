"""torch._six."""

from __future__ import annotations

from ..model import Example, Patch
from ._calls import Rename


class TorchSix(Rename):
    """Names of ``torch._six`` -> what they stood for."""

    names = {
        "torch._six.inf": "=float('inf')",
        "torch._six.nan": "=float('nan')",
        "torch._six.string_classes": "=(str, bytes)",
        "torch._six.int_classes": "=int",
        "torch._six.container_abcs": "collections.abc:",
        "torch._six.PY37": "=True",
        "torch._six.PY3": "=True",
        "torch._six.FileNotFoundError": "=FileNotFoundError",
        "torch._six.istuple": "=(lambda obj: isinstance(obj, tuple))",
    }
    patch = Patch(
        id="torch-six",
        title="torch._six",
        symptom="ModuleNotFoundError: No module named 'torch._six'",
        cause="PyTorch 2.0 removed this bridge to Python 2.",
        since={"torch": "2.0"},
        fairseq="forks with apex or Megatron code, plugins",
        change="inf and nan become float('inf') and float('nan'), container_abcs is collections.abc, "
        "string_classes is (str, bytes).",
        matches=[("no module named 'torch._six'",), ("module 'torch' has no attribute '_six'",)],
        tokens=[b"_six"],
        before="from torch._six import inf, string_classes\nlimit = inf\ntext = isinstance('a', string_classes)\n",
        after="limit = float('inf')\ntext = isinstance('a', (str, bytes))\n",
        more=[
            Example(
                "from torch._six import container_abcs\nok = isinstance([], container_abcs.Sequence)\n",
                "import collections.abc\nok = isinstance([], collections.abc.Sequence)\n",
            )
        ],
        untouched=["import six\nfrom math import inf\nx = six.string_types, inf\n"],
    )


RULE = TorchSix
