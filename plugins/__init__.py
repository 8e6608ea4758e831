"""Plugins for ``--user-dir``, small enough to be read from top to bottom.

``tutorial_lstm``      an encoder-decoder model, and the preparation of its data
``classifying_names``  a task of its own: telling the language of a name from its letters

They use public names of fairseq only, as a plugin of yours would.
"""
