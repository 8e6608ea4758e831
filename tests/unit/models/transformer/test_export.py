"""Layers compile without graph breaks; encoder and decoding step leave as graphs with the numbers of the model."""

from __future__ import annotations

from argparse import Namespace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fairseq.models.transformer.export import ExportableEncoder, ExportableStep
from fairseq.models.transformer_lm import TransformerLanguageModel, TransformerLanguageModelConfig
from fairseq.modules import MultiheadAttention, TransformerDecoderLayer, TransformerEncoderLayer

SIZES = {"embed_dim": 16, "ffn_embed_dim": 24, "attention_heads": 4}
SOURCE = torch.tensor([[4, 5, 6, 7, 2], [8, 9, 2, 1, 1]])
OTHER_SOURCE = torch.tensor([[4, 5, 6, 7, 8, 9, 2], [8, 9, 2, 1, 1, 1, 1], [8, 9, 3, 4, 2, 1, 1]])
QUERY, MEMORY = torch.randn(5, 2, 16), torch.randn(6, 2, 16)
PADDING = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
MEMORY_PADDING = torch.tensor([[False] * 6, [False] * 5 + [True]])
FUTURE = torch.triu(torch.full((5, 5), float("-inf")), 1)
OLD_EXPORTERS_WARN = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def layer_options(**options: Any) -> Namespace:
    sides = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in SIZES.items()}
    return Namespace(**{**sides, "dropout": 0.0, **options})


COMPILED: dict[str, Any] = {
    "encoder layer": lambda: (TransformerEncoderLayer(layer_options()), (QUERY, PADDING), {}),
    "pre-norm encoder layer": lambda: (
        TransformerEncoderLayer(layer_options(encoder_normalize_before=True, activation_fn="gelu")),
        (QUERY, None),
        {},
    ),
    "decoder layer": lambda: (
        TransformerDecoderLayer(layer_options()),
        (QUERY, MEMORY, MEMORY_PADDING),
        {"self_attn_mask": FUTURE},
    ),
    "decoder layer with weights": lambda: (
        TransformerDecoderLayer(layer_options()),
        (QUERY, MEMORY, MEMORY_PADDING),
        {"self_attn_mask": FUTURE, "need_attn": True},
    ),
    "decoding step": lambda: (
        TransformerDecoderLayer(layer_options()),
        (QUERY[:1], MEMORY, MEMORY_PADDING),
        {"incremental_state": {}},
    ),
    "attention": lambda: (
        MultiheadAttention(16, 4, self_attention=True),
        (QUERY, QUERY, QUERY),
        {"key_padding_mask": PADDING, "need_weights": False},
    ),
    "attention with weights": lambda: (MultiheadAttention(16, 4), (QUERY, MEMORY, MEMORY), {"need_weights": True}),
}


@pytest.mark.parametrize("name", COMPILED)
def test_layers_compile_without_graph_breaks(name: str) -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    module, args, kwargs = COMPILED[name]()
    expected = module(*args, **kwargs)[0]
    if "incremental_state" in kwargs:
        kwargs = {**kwargs, "incremental_state": {}}
    compiled = torch.compile(module, fullgraph=True, backend="eager")(*args, **kwargs)[0]
    torch.testing.assert_close(compiled, expected)


def test_dropout_of_compiled_layers_is_still_drawn() -> None:
    torch._dynamo.reset()
    layer = TransformerEncoderLayer(layer_options(dropout=0.5))
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    assert not torch.equal(compiled(QUERY, None), compiled(QUERY, None))


def test_a_whole_training_step_has_no_graph_breaks(build: Any, batch: Any) -> None:
    torch._dynamo.reset()
    model = build().train()
    target = torch.tensor([[5, 6, 7, 2], [8, 9, 2, 1]])

    def loss() -> Tensor:
        logits, _ = model(**batch)
        return torch.nn.functional.cross_entropy(logits.transpose(1, 2), target, ignore_index=1)

    def gradients(step: Any) -> list[Tensor]:
        model.zero_grad()
        step().backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    plain = gradients(loss)
    compiled = gradients(torch.compile(loss, fullgraph=True, backend="eager", dynamic=True))
    assert len(plain) == len(compiled)
    for ours, theirs in zip(compiled, plain):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------------------------------------------------- graphs
def greedy(encoder: Any, step: Any, cache: Tensor, source: Tensor, length: int = 4) -> tuple[Tensor, Tensor]:
    """Tokens ``(B, length + 1)`` and their scores ``(B, length, V)``."""
    padding, memory = encoder(source)
    tokens, scores = torch.full((source.size(0), 1), 2), []
    for _ in range(length):
        scored, cache = step(tokens, cache, padding, memory)
        scores.append(scored)
        tokens = torch.cat([tokens, scored.argmax(-1, keepdim=True)], dim=1)
    return tokens, torch.stack(scores, dim=1)


class Parts:
    """A model, its two graphs and what they are exported with."""

    def __init__(self, model: Any) -> None:
        self.model = model.eval()
        self.encoder, self.step = ExportableEncoder(model), ExportableStep(model)
        prefix = torch.tensor([[2, 5, 6], [2, 7, 8]])
        padding, memory = self.encoder(SOURCE)
        cache = self.step.empty_cache(2)
        for length in (1, 2):
            cache = self.step(prefix[:, :length], cache, padding, memory)[1]
        self.step_inputs = (prefix, cache, padding, memory)

    def check(self, encoder: Any, step: Any) -> None:
        with torch.no_grad():
            tokens, scores = greedy(encoder, step, self.step.empty_cache(3), OTHER_SOURCE)
            logits = self.model(OTHER_SOURCE, None, tokens[:, :-1])[0]
        torch.testing.assert_close(scores, logits.log_softmax(-1), rtol=1e-4, atol=1e-4)


@pytest.fixture
def parts(build: Any) -> Parts:
    with torch.no_grad():
        return Parts(build(encoder_layers=1, decoder_layers=2))


def test_the_parts_give_the_numbers_of_the_model(parts: Parts) -> None:
    parts.check(parts.encoder, parts.step)


@pytest.mark.parametrize("options", [{"decoder_learned_pos": True, "encoder_learned_pos": True},
                                     {"encoder_normalize_before": True, "decoder_normalize_before": True},
                                     {"decoder_embed_dim": 24, "decoder_attention_heads": 2}])  # fmt: skip
def test_the_parts_work_for_other_kinds_of_transformers(build: Any, options: dict[str, Any]) -> None:
    built = Parts(build(**options))
    built.check(built.encoder, built.step)


def with_first_step(parts: Parts, step: Any) -> Any:
    """The exported step; older releases (2.6 for one) take no empty cache: the module makes the first."""
    if torch.__version__ >= (2, 13):  # type: ignore[operator]
        return step
    return lambda tokens, cache, *source: (step if cache.size(4) else parts.step)(tokens, cache, *source)


def export(parts: Parts) -> tuple[Any, Any]:
    # The tables of positions end at 32 rows.
    batch, source, before = (torch.export.Dim(name, max=30) for name in ("batch", "source", "before"))
    encoder = torch.export.export(parts.encoder, (SOURCE,), dynamic_shapes={"src_tokens": {0: batch, 1: source}})
    shapes = {
        "prev_output_tokens": {0: batch, 1: before + 1},
        "cache": {2: batch, 4: before},
        "padding": {0: batch, 1: source},
        "memory": {2: batch, 4: source},
    }
    return encoder, torch.export.export(parts.step, parts.step_inputs, dynamic_shapes=shapes)


def test_exported_programs_take_other_sizes_and_give_the_same_numbers(parts: Parts) -> None:
    with torch.no_grad():
        encoder, step = export(parts)
        parts.check(encoder.module(), with_first_step(parts, step.module()))


class OnnxSession:
    """Calls a file with the arguments of the module that it was made of."""

    def __init__(self, path: Any) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def __call__(self, *args: Tensor) -> tuple[Tensor, ...]:
        names = [entry.name for entry in self.session.get_inputs()]
        feed = {name: value.numpy() for name, value in zip(names, args, strict=True)}
        return tuple(torch.from_numpy(value) for value in self.session.run(None, feed))


@OLD_EXPORTERS_WARN
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:No names were found:UserWarning")
@pytest.mark.skipif(
    torch.__version__.startswith("2.4."), reason="its tracing exporter writes no attention with a scale of its own"
)
def test_onnx_by_tracing_gives_the_same_numbers(parts: Parts, tmp_path: Any) -> None:
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package)
    settings: dict[str, Any] = {"opset_version": 17, "dynamo": False}
    torch.onnx.export(
        parts.encoder, (SOURCE,), tmp_path / "encoder.onnx", input_names=["src_tokens"],
        output_names=["padding", "memory"],
        dynamic_axes={"src_tokens": [0, 1], "padding": [0, 1], "memory": [2, 4]}, **settings,
    )  # fmt: skip
    torch.onnx.export(
        parts.step, parts.step_inputs, tmp_path / "step.onnx",
        input_names=["prev_output_tokens", "cache", "padding", "memory"], output_names=["scores", "grown"],
        dynamic_axes={"prev_output_tokens": [0, 1], "cache": [2, 4], "padding": [0, 1], "memory": [2, 4],
                      "scores": [0], "grown": [2, 4]}, **settings,
    )  # fmt: skip
    parts.check(OnnxSession(tmp_path / "encoder.onnx"), OnnxSession(tmp_path / "step.onnx"))


@OLD_EXPORTERS_WARN
def test_onnx_by_export_gives_the_same_numbers(parts: Parts, tmp_path: Any) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    if torch.__version__ < (2, 6):  # type: ignore[operator]
        pytest.skip("PyTorch before 2.6 cannot turn an exported program into ONNX")
    with torch.no_grad():
        for name, program in zip(("encoder", "step"), export(parts)):
            torch.onnx.export(program, (), tmp_path / f"{name}.onnx", dynamo=True, verbose=False)
        parts.check(OnnxSession(tmp_path / "encoder.onnx"), OnnxSession(tmp_path / "step.onnx"))


def test_a_language_model_is_a_step_alone(dictionary: Any) -> None:
    from omegaconf import OmegaConf

    torch.manual_seed(0)
    sizes: dict[str, Any] = {f"decoder_{name}_dim": 16 for name in ("embed", "input", "output", "ffn_embed")}
    cfg = OmegaConf.structured(
        TransformerLanguageModelConfig(
            **sizes, decoder_layers=2, decoder_attention_heads=2, dropout=0.0, max_target_positions=16
        )
    )
    task = SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
    model = TransformerLanguageModel.build_model(cfg, task).eval()
    step = ExportableStep(model)
    tokens, cache = torch.tensor([[2, 4, 5], [2, 6, 7]]), step.empty_cache(2)
    scores = []
    for length in (1, 2, 3):
        scored, cache = step(tokens[:, :length], cache)
        scores.append(scored)
    torch.testing.assert_close(torch.stack(scores, 1), model(tokens)[0].log_softmax(-1))
    with pytest.raises(TypeError, match="no encoder"):
        ExportableEncoder(model)


def test_a_model_without_attention_to_the_encoder_is_refused(build: Any) -> None:
    with pytest.raises(TypeError, match="without attention"):
        ExportableEncoder(build(no_cross_attention=True, cross_self_attention=True))
    with pytest.raises(TypeError, match="no transformer decoder"):
        ExportableStep(SimpleNamespace(eval=lambda: SimpleNamespace(decoder=SimpleNamespace(layers=[nn.Linear(1, 1)]))))
