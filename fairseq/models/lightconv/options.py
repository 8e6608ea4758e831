"""Command-line options of ``lightconv`` as data: flag -> settings of ``add_argument``."""

from __future__ import annotations

from typing import Any

from fairseq import utils

__all__ = ["CONVOLUTION_OPTIONS", "OPTIONS", "int_list"]


def int_list(text: Any) -> list[int] | None:
    """``"3,7,15"`` -> ``[3, 7, 15]``."""
    return utils.eval_str_list(text, type=int)


_RATE = {"type": float, "metavar": "P"}
_SIZE = {"type": int, "metavar": "N"}
_KINDS = ["dynamic", "lightweight"]


def _convolution_options(side: str) -> dict[str, dict[str, Any]]:
    return {
        f"--{side}-conv-type": {
            "type": str,
            "choices": _KINDS,
            "default": "dynamic",
            "help": f"whether {side} kernels are computed from the input (dynamic) or fixed (lightweight)",
        },
        f"--{side}-kernel-size-list": {
            "type": int_list,
            "metavar": "N,N,...",
            "help": f"kernel widths of the {side} layers; one stands for all",
        },
        f"--{side}-glu": {"type": utils.eval_bool, "metavar": "BOOL", "help": f"gate the input of {side} convolutions"},
    }


# Both the translation and the language model have these.
CONVOLUTION_OPTIONS: dict[str, dict[str, Any]] = {
    **_convolution_options("decoder"),
    "--weight-softmax": {
        "type": utils.eval_bool,
        "default": True,
        "metavar": "BOOL",
        "help": "normalise kernels with a softmax",
    },
    "--weight-dropout": {**_RATE, "help": "dropout on kernels"},
}

OPTIONS: dict[str, dict[str, Any]] = {
    "--dropout": {**_RATE, "help": "dropout on embeddings and on the output of each block"},
    "--attention-dropout": {**_RATE, "help": "dropout on attention weights"},
    "--relu-dropout": {**_RATE, "help": "dropout after the ReLU of feed-forward blocks"},
    "--input-dropout": {**_RATE, "help": "dropout on the input of convolution blocks"},
    "--encoder-embed-path": {"type": str, "metavar": "FILE", "help": "source word vectors to begin with, as text"},
    "--encoder-embed-dim": {**_SIZE, "help": "width of the encoder"},
    "--encoder-conv-dim": {**_SIZE, "help": "channels of encoder convolutions"},
    "--encoder-ffn-embed-dim": {**_SIZE, "help": "inner width of the encoder's feed-forward blocks"},
    "--encoder-layers": {**_SIZE, "help": "number of encoder layers"},
    "--encoder-attention-heads": {**_SIZE, "help": "heads (different kernels) of encoder convolutions"},
    "--encoder-normalize-before": {"action": "store_true", "help": "normalise the input of encoder blocks"},
    "--encoder-learned-pos": {"action": "store_true", "help": "learn the encoder's position vectors"},
    "--decoder-embed-path": {"type": str, "metavar": "FILE", "help": "target word vectors to begin with, as text"},
    "--decoder-embed-dim": {**_SIZE, "help": "width of the decoder"},
    "--decoder-conv-dim": {**_SIZE, "help": "channels of decoder convolutions"},
    "--decoder-ffn-embed-dim": {**_SIZE, "help": "inner width of the decoder's feed-forward blocks"},
    "--decoder-layers": {**_SIZE, "help": "number of decoder layers"},
    "--decoder-attention-heads": {**_SIZE, "help": "heads of attention and of decoder convolutions"},
    "--decoder-learned-pos": {"action": "store_true", "help": "learn the decoder's position vectors"},
    "--decoder-normalize-before": {"action": "store_true", "help": "normalise the input of decoder blocks"},
    "--share-decoder-input-output-embed": {
        "action": "store_true",
        "help": "use the target word vectors as output layer",
    },
    "--share-all-embeddings": {
        "action": "store_true",
        "help": "use the same word vectors for source, target and output layer (needs a joined dictionary)",
    },
    "--adaptive-softmax-cutoff": {"metavar": "N,N,...", "help": "where the bands of an adaptive softmax begin"},
    "--adaptive-softmax-dropout": {**_RATE, "help": "dropout inside the adaptive softmax"},
    **_convolution_options("encoder"),
    **CONVOLUTION_OPTIONS,
}
