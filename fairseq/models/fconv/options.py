"""Command-line options of ``fconv`` as data: flag -> settings of ``add_argument``."""

from __future__ import annotations

from typing import Any

__all__ = ["OPTIONS"]

OPTIONS: dict[str, dict[str, Any]] = {
    "--dropout": {"type": float, "metavar": "P", "help": "dropout on embeddings, layer inputs and output features"},
    "--encoder-embed-dim": {"type": int, "metavar": "N", "help": "width of source word vectors"},
    "--encoder-embed-path": {"type": str, "metavar": "FILE", "help": "source word vectors to begin with, as text"},
    "--encoder-layers": {"type": str, "metavar": "SPEC", "help": "encoder layers, [(channels, kernel width), ...]"},
    "--decoder-embed-dim": {"type": int, "metavar": "N", "help": "width of target word vectors"},
    "--decoder-embed-path": {"type": str, "metavar": "FILE", "help": "target word vectors to begin with, as text"},
    "--decoder-layers": {"type": str, "metavar": "SPEC", "help": "decoder layers, [(channels, kernel width), ...]"},
    "--decoder-out-embed-dim": {"type": int, "metavar": "N", "help": "width before the output layer"},
    "--decoder-attention": {
        "type": str,
        "metavar": "BOOL,...",
        "help": "which decoder layers attend to the source: one boolean for all, or a list",
    },
    "--share-input-output-embed": {
        "action": "store_true",
        "help": "use the target word vectors as output layer (needs --decoder-out-embed-dim = --decoder-embed-dim)",
    },
}
