"""Scripts that published recipes call by their path, ``site-packages/fairseq/examples/...``; nothing to import."""
