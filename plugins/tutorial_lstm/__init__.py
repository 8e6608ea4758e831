"""The tutorial's model: an LSTM reads the source into one vector, another LSTM writes the target from it.

    fairseq-train DATA --user-dir plugins/tutorial_lstm --arch tutorial_simple_lstm ...

``model``           the encoder, the decoder, their options
``prepare``         command: a data-bin folder from number words, IWSLT'14 or any parallel text
``numbers_corpus``  made-up sentence pairs: numbers, dates and clock times
``text_pipeline``   tokenise, clean, learn and apply subwords
``iwslt14``         from the archive of the IWSLT'14 talks to plain text

Importing a plugin must register what it offers, so this file imports the model; nothing else is needed for training.
"""

from . import model

__all__ = ["model"]
