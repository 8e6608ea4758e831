"""Loops that are too slow in Python, compiled by Cython (``*.pyx``), and their twins in NumPy (``*_numpy.py``).

``batching`` finds the ends of batches, shuffles and sorts; ``token_blocks`` cuts a stream of sentences into blocks;
``token_table`` counts tokens of text and looks up their numbers (its Python twins are in
``fairseq.data.text_files``: ``token_counts`` and ``encode_lines``). The compiled modules are optional: ``loading``
chooses the twin where one was not built, or was built from older code. Both give identical results.
"""
