"""Random masks for masked training: ``span_masks`` draws spans of frames (wav2vec 2.0, HuBERT), ``block_masks`` draws
blocks of frames or of image patches (data2vec 2.0). ``fairseq.data.data_utils`` has the public names.
"""
