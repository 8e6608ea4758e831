"""Text files and the token numbers made of them: ``parallel_lines`` reads the parts of a file in several processes,
``token_counts`` counts tokens for a dictionary, ``encode_lines`` turns many lines into token numbers at once,
``pair_files`` finds and opens the binarized files of a language pair, and ``vocabulary_check`` explains an error that
comes from data and a dictionary that do not belong together.
"""
