"""The tutorial's model: an LSTM reads the source into one vector, another LSTM writes the target from it.

    fairseq-train DATA --user-dir plugins/tutorial_lstm --arch tutorial_simple_lstm ...

``model``    the encoder, the decoder, their options
``prepare``  the former place of ``fairseq prepare``, which makes the tutorial's data

Importing a plugin must register what it offers, so this file imports the model; nothing else is needed for training.
"""

from . import model

__all__ = ["model"]
