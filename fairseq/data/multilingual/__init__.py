"""Training data of many languages.

``multilingual_utils``           tokens that name a language
``sampling_method``              how often each language is seen, from the sizes of its data
``sampled_multi_dataset``        samples drawn from several data sets in given shares
``sampled_multi_epoch_dataset``  the same, handed out in epochs smaller than the data
``multilingual_data_manager``    which files the options name, with which language tokens, in which shares
"""
