"""Configuration: one schema of dataclasses behind flags, YAML files, namespaces and old checkpoints.

``configs``    the groups every run has (common, dataset, optimization, ...) and ``FairseqDataclass``, the base of all
``constants``  choice lists as enums
``fields``     what a dataclass field means as an option: flags, type, default
``convert``    values by type, never through strings of another grammar
``utils``      parsers from dataclasses, configs from namespaces, overrides by name
``initialize`` the same groups in Hydra's config store
"""

from fairseq.dataclass.configs import FairseqDataclass
from fairseq.dataclass.constants import ChoiceEnum

__all__ = ["ChoiceEnum", "FairseqDataclass"]
