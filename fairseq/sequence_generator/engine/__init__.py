"""Decoding a transformer step by step without going through its modules.

A step of a transformer decoder is a fixed sequence of matrix products over weights that do not change. The engine runs
that sequence directly: query, key and value of a layer come from one product, keys and values are written once and
never follow their hypotheses around, and the source is projected once per sentence.

``linear``        linear maps, one or several in one product, in floats or 8-bit integers
``prefix_cache``  keys and values of the words so far, shared by the hypotheses of a sentence
``batch_slots``   which rows belong to which sentence while sentences end
``transformer``   the step
``cuda_graph``    the step with tensors that stay where they are, for a GPU to record and play again
``ensemble``      one or several models behind it

It is used only where nothing that a plugin may override is overridden (``fairseq.utils.overrides``); everything else
runs through the decoder's own ``forward`` with an ``incremental_state``.
"""
