"""From samples to batches: ``size_limits`` says which samples are too long, which ones go together in a batch and how
they are put into length buckets, ``batches`` holds all batches of an epoch in two flat arrays, and ``collation`` pads
the samples of one batch into a tensor. ``fairseq.data.data_utils`` has the public names.
"""
