"""Command-line options of ``lstm`` as data: flag -> settings of ``add_argument``."""

from __future__ import annotations

from typing import Any

__all__ = ["OPTIONS"]

OPTIONS: dict[str, dict[str, Any]] = {
    "--dropout": {"type": float, "metavar": "P", "help": "dropout, wherever no finer option is given"},
    "--encoder-embed-dim": {"type": int, "metavar": "N", "help": "width of source word vectors"},
    "--encoder-embed-path": {"type": str, "metavar": "FILE", "help": "source word vectors to begin with, as text"},
    "--encoder-freeze-embed": {"action": "store_true", "help": "do not train the source word vectors"},
    "--encoder-hidden-size": {"type": int, "metavar": "N", "help": "width of the encoder's state, per direction"},
    "--encoder-layers": {"type": int, "metavar": "N", "help": "number of encoder layers"},
    "--encoder-bidirectional": {"action": "store_true", "help": "read the source in both directions"},
    "--decoder-embed-dim": {"type": int, "metavar": "N", "help": "width of target word vectors"},
    "--decoder-embed-path": {"type": str, "metavar": "FILE", "help": "target word vectors to begin with, as text"},
    "--decoder-freeze-embed": {"action": "store_true", "help": "do not train the target word vectors"},
    "--decoder-hidden-size": {"type": int, "metavar": "N", "help": "width of the decoder's state"},
    "--decoder-layers": {"type": int, "metavar": "N", "help": "number of decoder layers, that of the encoder"},
    "--decoder-out-embed-dim": {"type": int, "metavar": "N", "help": "width before the output layer"},
    "--decoder-attention": {"type": str, "metavar": "BOOL", "help": "whether the decoder attends to the source"},
    "--adaptive-softmax-cutoff": {
        "metavar": "N,N,...",
        "help": "where the bands of the adaptive softmax begin; used with --criterion adaptive_loss",
    },
    "--share-decoder-input-output-embed": {
        "action": "store_true",
        "help": "use the target word vectors as output layer",
    },
    "--share-all-embeddings": {
        "action": "store_true",
        "help": "use the same word vectors for source, target and output layer (needs a joined dictionary)",
    },
    "--encoder-dropout-in": {"type": float, "metavar": "P", "help": "dropout on source word vectors"},
    "--encoder-dropout-out": {"type": float, "metavar": "P", "help": "dropout on the output of encoder layers"},
    "--decoder-dropout-in": {"type": float, "metavar": "P", "help": "dropout on target word vectors"},
    "--decoder-dropout-out": {"type": float, "metavar": "P", "help": "dropout on the output of decoder layers"},
}
