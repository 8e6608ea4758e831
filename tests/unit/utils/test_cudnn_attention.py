"""Attention on CUDA runs without cuDNN's kernels unless they are asked for."""

from __future__ import annotations

import pytest
import torch

from fairseq.utils.devices import leave_out_cudnn_attention


@pytest.mark.parametrize("variable, stays", [("", False), ("0", False), ("1", True)])
def test_cudnn_attention_stays_only_where_it_is_asked_for(
    variable: str, stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    monkeypatch.setenv("FAIRSEQ_CUDNN_ATTENTION", variable)
    try:
        torch.backends.cuda.enable_cudnn_sdp(True)
        leave_out_cudnn_attention()
        assert torch.backends.cuda.cudnn_sdp_enabled() is stays
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)
