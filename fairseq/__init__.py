"""fairseq, the living fork: a sequence-modelling toolkit for today's Python and PyTorch.

Importing this package imports next to nothing. Every submodule (``fairseq.models``, ``fairseq.data.dictionary``, and
so on) is loaded when it is first asked for, by ``import`` or by attribute access.
"""

from fairseq._lazy import attach
from fairseq.compat.hook import install_hook
from fairseq.version import __version__

__all__ = ["__version__"]

__getattr__, __dir__ = attach(__name__, {"hydra_init": "fairseq.dataclass.initialize"})

# Before any other module is imported: the hook serves those that come after it, and this one.
install_hook(__name__)
