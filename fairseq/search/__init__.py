"""How the next words are chosen from the scores of a step.

``base``         Search: what a strategy provides
``beam``         plain beam search, within length limits, within a callable's prefix tree
``diverse``      groups that avoid each other's words, and siblings that are marked down
``sampling``     draws, from everything, the k best, or the best p of the mass
``constrained``  phrases that must appear
``top``          the k best of very many, in two rounds
"""

from fairseq.search.base import Search
from fairseq.search.beam import BeamSearch, LengthConstrainedBeamSearch, PrefixConstrainedBeamSearch
from fairseq.search.constrained import LexicallyConstrainedBeamSearch
from fairseq.search.diverse import DiverseBeamSearch, DiverseSiblingsSearch
from fairseq.search.sampling import Sampling
from fairseq.token_generation_constraints import ConstraintState, OrderedConstraintState, UnorderedConstraintState

__all__ = [
    "BeamSearch",
    "ConstraintState",
    "DiverseBeamSearch",
    "DiverseSiblingsSearch",
    "LengthConstrainedBeamSearch",
    "LexicallyConstrainedBeamSearch",
    "OrderedConstraintState",
    "PrefixConstrainedBeamSearch",
    "Sampling",
    "Search",
    "UnorderedConstraintState",
]
