"""Tasks without files and a model without a purpose, to measure how fast training is.

``dummy_dataset``    one batch, handed out again and again
``dummy_lm``         text to continue
``dummy_masked_lm``  text with masks
``dummy_mt``         sentence pairs
``dummy_model``      layers of linear maps that predict tokens
"""
