"""Whatever a plug-in overrides runs: no fast path takes the place of a method that is not the one of its class.

Each method of the classes below is overridden in turn. If the plain code calls it in training or in generation, it must
be called with all fast paths on as well, or stand in the list of exemptions with its reason.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import pytest
import torch
from torch import nn

from fairseq.criterions import label_smoothed_cross_entropy, projected_loss
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.data.dictionary import Dictionary
from fairseq.models.transformer import TransformerModel, base_architecture
from fairseq.modules.fused import attention, feed_forward, layers
from fairseq.sequence_generator import SequenceGenerator
from fairseq.sequence_generator.engine.ensemble import EngineSteps
from fairseq.utils import overrides
from fairseq.utils.overrides import EXEMPT, is_unhooked, package_class, uses_default_methods

TOKENS = torch.tensor([[4, 5, 6, 7, 2], [9, 10, 2, 1, 1], [11, 12, 13, 2, 1]])
SAMPLE = {
    "id": torch.arange(3),
    "nsentences": 3,
    "ntokens": 12,
    "net_input": {"src_tokens": TOKENS, "src_lengths": torch.tensor([5, 3, 4]), "prev_output_tokens": TOKENS},
    "target": TOKENS,
}


@pytest.fixture(autouse=True)
def small_tensors_take_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "SMALLEST", 1)
    monkeypatch.setattr(feed_forward, "SMALLEST", 1)
    monkeypatch.setattr(projected_loss, "SMALLEST_VOCABULARY", 1)
    monkeypatch.setattr("fairseq.criterions.fused_loss.SMALL", 0)


def words() -> Dictionary:
    dictionary = Dictionary()
    for index in range(20):
        dictionary.add_symbol(f"w{index}")
    return dictionary


class Run:
    """A model, its criterion and its generator; ``places`` names the objects whose methods are overridden."""

    def __init__(self, criterion: type) -> None:
        sizes = {"embed_dim": 16, "ffn_embed_dim": 24, "layers": 2, "attention_heads": 2}
        args = Namespace(dropout=0.1, max_source_positions=50, max_target_positions=50)
        for side in ("encoder", "decoder"):
            for name, value in sizes.items():
                setattr(args, f"{side}_{name}", value)
        base_architecture(args)
        self.words = words()
        task = Namespace(source_dictionary=self.words, target_dictionary=self.words)
        torch.manual_seed(1)
        self.model = TransformerModel.build_model(args, task)
        extra = {"label_smoothing": 0.1} if criterion is LabelSmoothedCrossEntropyCriterion else {}
        self.criterion = criterion(task, sentence_avg=False, **extra)
        self.generator = SequenceGenerator([self.model], self.words, beam_size=2, max_len_b=6)
        model: Any = self.model
        self.places: dict[str, Any] = {
            "model": model,
            "encoder": model.encoder,
            "decoder": model.decoder,
            "encoder layer": model.encoder.layers[0],
            "decoder layer": model.decoder.layers[0],
            "encoder self-attention": model.encoder.layers[0].self_attn,
            "decoder self-attention": model.decoder.layers[0].self_attn,
            "attention to the encoder": model.decoder.layers[0].encoder_attn,
            "dropout": model.decoder.layers[0].dropout_module,
            "norm": model.decoder.layers[0].final_layer_norm,
            "linear map": model.decoder.layers[0].fc1,
            "output projection": model.decoder.output_projection,
            "embedding": model.decoder.embed_tokens,
            "positions": model.decoder.embed_positions,
            "ensemble": self.generator.model,
            "criterion": self.criterion,
        }

    def override(self, place: str, names: list[str], calls: set[str], instance: bool = False) -> None:
        """Let methods of one object note that they are called, by a subclass or on the instance."""
        target = self.places[place]
        own = {name: _noting(type(target), name, calls) for name in names}
        if instance:
            for name, function in own.items():
                object.__setattr__(target, name, function.__get__(target))
        else:
            target.__class__ = type("Own", (type(target),), own)

    def train(self) -> None:
        torch.manual_seed(2)
        self.model.train()
        self.criterion.train()
        self.criterion(self.model, SAMPLE)[0].backward()

    def generate(self) -> None:
        self.model.eval()
        self.generator.generate([self.model], SAMPLE)


def _noting(cls: type, name: str, calls: set[str]) -> Callable[..., Any]:
    original, static = getattr(cls, name), _is_static(cls, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.add(name)
        return original.__get__(self)(*args, **kwargs) if not static else original(*args, **kwargs)

    return method


def _is_static(cls: type, name: str) -> bool:
    return any(isinstance(vars(c).get(name), (staticmethod, classmethod)) for c in cls.__mro__ if name in vars(c))


def methods_of(obj: Any) -> list[str]:
    """All functions that the class of an object has from this package, and ``forward``."""
    names = ["forward"] if isinstance(obj, nn.Module) else []
    for cls in type(obj).__mro__:
        if cls.__module__.startswith("fairseq."):
            names += [
                n for n, value in vars(cls).items() if isinstance(getattr(value, "__func__", value), FunctionType)
            ]
    return sorted({name for name in names if name != "__init__"})


def plain_calls(criterion: type, place: str, act: str) -> set[str]:
    """Which methods of an object the plain code calls."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAIRSEQ_FAST_PATHS", "0")
        run, calls = Run(criterion), set[str]()
        run.override(place, methods_of(run.places[place]), calls)
        getattr(run, act)()
    return calls


def cases() -> Iterator[Any]:
    for criterion in (CrossEntropyCriterion, LabelSmoothedCrossEntropyCriterion):
        places = Run(criterion).places if criterion is CrossEntropyCriterion else ["criterion"]
        for place in places:
            for act in ("train", "generate"):
                if act == "generate" and place == "criterion":
                    continue
                yield pytest.param(criterion, place, act, id=f"{criterion.__name__}-{place}-{act}")


@pytest.mark.parametrize("how", ["subclass", "instance"])
@pytest.mark.parametrize(("criterion", "place", "act"), list(cases()))
def test_an_override_runs_or_is_exempt(criterion: type, place: str, act: str, how: str) -> None:
    expected = plain_calls(criterion, place, act)
    passed_over = []
    for name in sorted(expected - EXEMPT.keys()):
        if how == "instance" and name == "forward":
            continue  # below: nn.Module looks it up on the instance, and so does the next test
        run, calls = Run(criterion), set[str]()
        run.override(place, [name], calls, instance=how == "instance")
        getattr(run, act)()
        if name not in calls:
            passed_over.append(name)
    assert passed_over == []


@pytest.mark.parametrize(
    ("place", "act"), [(p, a) for p in Run(CrossEntropyCriterion).places for a in ("train", "generate")]
)
def test_a_hook_or_a_replaced_forward_runs(place: str, act: str) -> None:
    for install in ("hook", "forward"):
        seen = {}
        for switch in ("0", "1"):
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("FAIRSEQ_FAST_PATHS", switch)
                run, calls = Run(CrossEntropyCriterion), set[str]()
                if install == "hook":
                    run.places[place].register_forward_hook(lambda *_, calls=calls: calls.add("hook"))
                else:
                    run.override(place, ["forward"], calls, instance=True)
                getattr(run, act)()
                seen[switch] = calls
        assert seen["0"] == seen["1"], install


def watch(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, taken: set[str]) -> None:
    """Let a fast path note that it gave a result."""
    real = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        result = real(*args, **kwargs)
        if result is not None:
            taken.add(name)
        return result

    monkeypatch.setattr(owner, name, call)


def test_without_overrides_every_fast_path_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the tests above would compare the plain code with itself."""
    taken: set[str] = set()
    paths = [
        (layers, "attend_add_norm"),
        (layers, "feed_forward_add_norm"),
        (label_smoothed_cross_entropy, "loss_without_logits"),
        (EngineSteps, "make"),
    ]
    for owner, name in paths:
        watch(monkeypatch, owner, name, taken)
    run = Run(LabelSmoothedCrossEntropyCriterion)
    run.train()
    run.generate()
    assert taken == {name for _, name in paths}
    taken.clear()
    monkeypatch.setenv("FAIRSEQ_FAST_PATHS", "0")
    run.train()
    run.generate()
    assert taken == set()


def test_every_exemption_says_why() -> None:
    assert all(len(reason.split()) >= 2 for reason in EXEMPT.values())


class FixedMasks:
    """Dropout whose mask depends on the number of the call and on the element, not on the layout of memory."""

    def __init__(self) -> None:
        self.calls = 0

    def keep(self, x: torch.Tensor, p: float) -> torch.Tensor:
        """What stays of ``(B, T, C)``, ``(T, B, C)`` or rows ``(B * T, C)``."""
        self.calls += 1
        batch, length = TOKENS.shape
        generator = torch.Generator().manual_seed(self.calls)
        keep = torch.rand(batch, length, x.size(-1), generator=generator) >= p
        return (keep.transpose(0, 1) if x.size(0) == length else keep).reshape(x.shape)

    def dropout(self, x: torch.Tensor, p: float, training: bool, inplace: bool = False) -> torch.Tensor:
        """In place of ``torch.nn.functional.dropout``, which the plain code calls."""
        return x * self.keep(x, p) / (1 - p) if training and p > 0 else x

    def keep_mask(self, x: torch.Tensor, p: float) -> tuple[torch.Tensor, float]:
        """In place of ``dropout_add._keep_mask``: ones and zeros in the order of memory, and the scale."""
        keep = torch.empty_like(x, dtype=torch.int8).copy_(self.keep(x, p))
        return keep.as_strided((x.numel(),), (1,)), 1 / (1 - p)


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_the_switch_turns_everything_off_and_numbers_agree(p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fused blocks that end in dropout, sum and norm run only with dropout, and draw other numbers for it."""
    whole_blocks = ("attend_add_norm", "feed_forward_add_norm")
    taken: set[str] = set()
    for name in whole_blocks:
        watch(monkeypatch, layers, name, taken)
    found, calls = {}, {}
    for switch in ("0", "1"):
        masks = FixedMasks()
        monkeypatch.setattr(torch.nn.functional, "dropout", masks.dropout)
        monkeypatch.setattr(sys.modules["fairseq.modules.fused.dropout_add"], "_keep_mask", masks.keep_mask)
        monkeypatch.setenv("FAIRSEQ_FAST_PATHS", switch)
        run = Run(LabelSmoothedCrossEntropyCriterion)
        for module in run.model.modules():
            if getattr(module, "p", 0.0) > 0:
                module.p = p
        run.train()
        calls[switch] = masks.calls
        assert taken == (set(whole_blocks) if switch == "1" and p > 0 else set())
        run.model.eval()
        hypotheses = run.generator.generate([run.model], SAMPLE)
        found[switch] = ({n: weight.grad for n, weight in run.model.named_parameters()}, hypotheses)
    assert calls["0"] == calls["1"] and (calls["0"] > 0) == (p > 0)
    for name, grad in found["0"][0].items():
        torch.testing.assert_close(grad, found["1"][0][name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    for plain, fast in zip(found["0"][1], found["1"][1]):
        assert [h["tokens"].tolist() for h in plain] == [h["tokens"].tolist() for h in fast]


def test_a_patched_class_is_noticed_before_and_after_its_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    overrides._WRITTEN.clear()
    model = Run(CrossEntropyCriterion).model
    cls = package_class(model)
    with monkeypatch.context() as patch:
        patch.setattr(cls, "forward", lambda self: None)
        assert not uses_default_methods(model, cls)
    assert uses_default_methods(model, cls)
    with monkeypatch.context() as patch:
        patch.setattr(cls, "forward", lambda self: None)
        assert not uses_default_methods(model, cls)
        assert uses_default_methods(model, cls, ignore=("forward",))
    assert not uses_default_methods(object(), cls)


def test_a_class_with_its_own_attribute_lookup_is_not_trusted() -> None:
    class Looking(TransformerModel):
        def __getattribute__(self, name: str) -> Any:
            return super().__getattribute__(name)

    model = Run(CrossEntropyCriterion).model
    model.__class__ = Looking
    assert not uses_default_methods(model, TransformerModel)


def test_global_hooks_count() -> None:
    linear = nn.Linear(2, 2)
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert not is_unhooked(linear)
    finally:
        handle.remove()
    assert is_unhooked(linear)
