"""Turn sources into outputs, word by word.

``generator``    SequenceGenerator: the loop
``ensemble``     EnsembleModel: one or several models behind one step
``beam_state``   words, scores and attention of the hypotheses under way
``logit_rules``  what may be said next: one function per rule
``finalize``     finished hypotheses: collecting them, building the result
``alignment``    SequenceGeneratorWithAlignment: which source word each output word came from
``shallow_fusion``  the scores of a language model beside the model's
``int8``         linear layers with 8-bit weights
"""

from fairseq.sequence_generator.alignment import SequenceGeneratorWithAlignment
from fairseq.sequence_generator.ensemble import EnsembleModel, EnsembleModelWithAlignment
from fairseq.sequence_generator.generator import SequenceGenerator

__all__ = ["EnsembleModel", "EnsembleModelWithAlignment", "SequenceGenerator", "SequenceGeneratorWithAlignment"]
