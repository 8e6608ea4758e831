"""``fairseq prepare``: from raw text to a data folder.

``command``         the command line; one function per source of text
``numbers_corpus``  made-up sentence pairs: numbers, dates and clock times
``iwslt14``         from the archive of the IWSLT'14 talks to plain text
``text_pipeline``   tokenise, clean, learn and apply subwords
"""
