"""fairseq, the living fork: a sequence-modelling toolkit for today's Python and PyTorch.

Importing this package imports next to nothing. Every submodule (``fairseq.models``, ``fairseq.data.dictionary``, and
so on) is loaded when it is first asked for, by ``import`` or by attribute access.
"""

from fairseq._lazy import attach
from fairseq.compat.hydra_store import fill_when_hydra_is_imported
from fairseq.compat.reexports import reexport_on_import
from fairseq.version import __version__

__all__ = ["__version__"]

__getattr__, __dir__ = attach(__name__, {"hydra_init": "fairseq.dataclass.initialize"})

# First: it concerns the modules that are imported from here on.
reexport_on_import()
fill_when_hydra_is_imported()
