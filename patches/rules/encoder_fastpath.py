"""PyTorch's fused encoder layer, which now asks what kind of mask it is given."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..bindings import dotted
from ..edit import argument, with_keyword
from ..model import Example, Patch, Rule

# Position of the mask among the arguments of each function; PyTorch numbers the kinds 0 (attention) and 1 (padding).
FUNCTIONS = {"torch._transformer_encoder_layer_fwd": 18, "torch._native_multi_head_attention": 9}
ATTENTION, PADDING = "0", "1"


class EncoderFastpath(Rule):
    """``torch._transformer_encoder_layer_fwd(..., mask)`` gets ``mask_type``."""

    patch = Patch(
        id="torch-encoder-fastpath",
        title="The fused encoder layer without mask_type",
        symptom="RuntimeError: Mask Type should be defined",
        cause="Since PyTorch 1.13 the fused layer takes padding masks and attention masks, and must be told "
        "which one it gets.",
        since={"torch": "1.13"},
        fairseq="0.12.1 and later (transformer_layer, in evaluation)",
        change="mask_type is passed: 1 for a padding mask, 0 for an attention mask, by the name of what is passed.",
        matches=[("mask type should be defined",), ("_transformer_encoder_layer_fwd",)],
        tokens=[b"_transformer_encoder_layer_fwd", b"_native_multi_head_attention"],
        before="""\
import torch


def run(x, w, b, padding, attn):
    return torch._transformer_encoder_layer_fwd(
        x, 4, 2, w, b, w[:4], b[:4], False, False, 1e-5, b[:4], b[:4], b[:4], b[:4], w[:4], b[:4], w[:4], b[:4],
        padding if padding is not None else attn,
    )
""",
        after="""\
import torch


def run(x, w, b, padding, attn):
    return torch._transformer_encoder_layer_fwd(
        x, 4, 2, w, b, w[:4], b[:4], False, False, 1e-5, b[:4], b[:4], b[:4], b[:4], w[:4], b[:4], w[:4], b[:4],
        padding if padding is not None else attn, mask_type=1 if padding is not None else 0,
    )
""",
        more=[
            Example(
                "import torch\ny = torch._native_multi_head_attention(q, k, v, 4, 2, w, b, w, b, key_padding_mask)\n",
                "import torch\ny = torch._native_multi_head_attention(q, k, v, 4, 2, w, b, w, b, "
                "key_padding_mask, mask_type=1)\n",
            )
        ],
        untouched=["import torch\ny = torch._native_multi_head_attention(q, k, v, 4, 2, w, b, w, b)\n"],
    )

    def leave_Call(self, original: Any, updated: Any) -> Any:
        name = self.ctx.origin(original.func, *FUNCTIONS)
        if name is None or argument(original, "mask_type") is not None:
            return updated
        if len(original.args) != FUNCTIONS[name] + 1 or any(arg.star or arg.keyword for arg in original.args):
            if len(original.args) > FUNCTIONS[name] + 1 and name.endswith("fwd") is False:
                self.by_hand(original, "pass mask_type: 1 for a padding mask, 0 for an attention mask")
            return updated
        mask = original.args[-1].value
        if isinstance(mask, cst.IfExp):
            kind: Any = mask.with_changes(
                body=cst.Integer(self._kind(mask.body)), orelse=cst.Integer(self._kind(mask.orelse))
            )
        else:
            kind = cst.Integer(self._kind(mask))
        self.hit(original, "mask_type is passed")
        return with_keyword(updated, "mask_type", kind)

    @staticmethod
    def _kind(node: Any) -> str:
        return PADDING if "pad" in (dotted(node) or "") else ATTENTION


RULE = EncoderFastpath
