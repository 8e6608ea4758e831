"""The shipped config files. A package, so that Hydra finds them under ``pkg://fairseq.config``."""
