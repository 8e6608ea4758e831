"""Decoding that rewrites whole outputs until they no longer change (Lee et al. 2018; Ghazvininejad et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["DecoderOut", "IterativeRefinementGenerator"]


class DecoderOut(NamedTuple):
    """An output under way.

    Shapes: B sentences, T length.
    """

    output_tokens: Any  # (B, T)
    output_scores: Any  # (B, T), natural logarithms
    attn: Any  # (B, T, source) or None
    step: Any
    max_step: Any
    history: Any  # list of earlier output_tokens, or None


class IterativeRefinementGenerator:
    """Refine outputs of a non-autoregressive model.

    Args:
        tgt_dict: dictionary of the outputs.
        models: kept for callers.
        eos_penalty: passed to the model: makes it less eager to end.
        max_iter: refinements after the first pass.
        max_ratio: outputs are at most this many times as long as their source.
        beam_size: lengths to try per sentence.
        decoding_format: how an ensemble combines its members.
        retain_dropout: leave the models in the mode they are in.
        adaptive: a sentence that no longer changes is done.
        retain_history: keep every intermediate output.
        reranking: the last model chooses among the lengths.
    """

    def __init__(
        self,
        tgt_dict: Any,
        models: Any = None,
        eos_penalty: float = 0.0,
        max_iter: int = 10,
        max_ratio: float = 2,
        beam_size: int = 1,
        decoding_format: str | None = None,
        retain_dropout: bool = False,
        adaptive: bool = True,
        retain_history: bool = False,
        reranking: bool = False,
    ) -> None:
        self.models = models
        self.vocab_size = len(tgt_dict)
        self.bos, self.eos, self.pad, self.unk = (tgt_dict.bos(), tgt_dict.eos(), tgt_dict.pad(), tgt_dict.unk())
        # When to stop, and how long outputs may be.
        self.max_iter, self.adaptive = max_iter, adaptive
        self.max_ratio, self.eos_penalty = max_ratio, eos_penalty
        # What is tried, combined and kept.
        self.beam_size, self.reranking = beam_size, reranking
        self.decoding_format = decoding_format
        self.retain_dropout, self.retain_history = retain_dropout, retain_history

    def generate_batched_itr(
        self,
        data_itr: Iterable[Any],
        maxlen_a: float | None = None,
        maxlen_b: float | None = None,
        cuda: bool = False,
        timer: Any = None,
        prefix_size: int = 0,
    ) -> Iterator[tuple[Any, Tensor, Tensor | None, list[dict[str, Any]]]]:
        """Go through an iterator of batches; yields ``(id, source, reference or None, hypotheses)`` per sentence.

        Args:
            maxlen_a, maxlen_b: not used, the model decides on lengths.
            cuda: move batches to the GPU.
            timer: started before and stopped after every batch, with the number of generated words.
            prefix_size: words of the reference that outputs begin with; the model has to support it.
        """
        from fairseq import utils

        for sample in data_itr:
            if "net_input" not in sample:
                continue
            batch = utils.move_to_cuda(sample) if cuda else sample
            if timer is not None:
                timer.start()
            prefix = batch["target"][:, :prefix_size] if prefix_size > 0 else None
            with torch.no_grad():
                hypotheses = self.generate(self.models, batch, prefix_tokens=prefix)
            if timer is not None:
                timer.stop(sum(len(found[0]["tokens"]) for found in hypotheses))
            for i, sentence_id in enumerate(batch["id"]):
                source = utils.strip_pad(batch["net_input"]["src_tokens"][i], self.pad)
                target = batch.get("target")
                reference = utils.strip_pad(target[i], self.pad) if target is not None else None
                yield sentence_id, source, reference, hypotheses[i]

    @torch.no_grad()
    def generate(
        self, models: Any, sample: Any, prefix_tokens: Tensor | None = None, constraints: Tensor | None = None
    ) -> list[list[dict[str, Any]]]:
        """Generate outputs for a batch.

        Args:
            models: the ensemble; with ``reranking`` its last member only compares.
            sample: a batch with ``src_tokens`` and ``src_lengths`` in ``net_input``.
            prefix_tokens: accepted for callers; models decide on whole outputs.

        Returns:
            per sentence one hypothesis: ``tokens`` (begin and end included), ``positional_scores``, their mean as
            ``score``, ``steps``, ``hypo_attn``, ``alignment`` and, if kept, ``history``.

        Raises:
            NotImplementedError: constraints.
            AssertionError: the model cannot do what the options ask for.
        """
        if constraints is not None:
            raise NotImplementedError("Constrained decoding with the IterativeRefinementGenerator is not supported")
        model, reranker = self._choose(models)
        tokens, lengths = sample["net_input"]["src_tokens"], sample["net_input"]["src_lengths"]
        bsz = tokens.size(0)
        encoder_out = model.forward_encoder([tokens, lengths])
        out = model.initialize_output_tokens(encoder_out, tokens)
        beam = self.beam_size
        if beam > 1:
            if not model.allow_length_beam:
                raise AssertionError(f"{type(model).__name__} does not support decoding with length beam.")
            rows = torch.arange(bsz, device=tokens.device).repeat_interleave(beam)
            encoder_out = model.encoder.reorder_encoder_out(encoder_out, rows)
            out = model.regenerate_length_beam(out, beam)
        if self.retain_history:
            out = out._replace(history=[out.output_tokens.clone()])
        found = self._refine(model, encoder_out, out, bsz * beam)
        if beam == 1:
            return found
        if reranker is not None:
            found = self.rerank(reranker, found, [tokens, lengths], beam)
        best = torch.tensor([float(hypotheses[0]["score"]) for hypotheses in found]).view(bsz, beam).argmax(dim=1)
        return [found[beam * i + choice] for i, choice in enumerate(best.tolist())]

    def _choose(self, models: Sequence[Any]) -> tuple[Any, Any]:
        """The model that writes, and the one that compares or ``None``."""
        if not self.retain_dropout:
            for member in models:
                member.eval()
        members, reranker = list(models), None
        if self.reranking:
            if len(members) < 2:
                raise AssertionError("Assuming the last checkpoint is the reranker: give --path at least two models")
            if self.beam_size < 2:
                raise AssertionError("reranking chooses among lengths: --iter-decode-with-beam must be above 1")
            reranker = members.pop()
        model = members[0]
        if len(members) > 1 and hasattr(model, "enable_ensemble"):
            if not model.allow_ensemble:
                raise AssertionError(f"{type(model).__name__} does not support ensembling")
            model.enable_ensemble(members)
        return model, reranker

    def _refine(self, model: Any, encoder_out: Any, out: DecoderOut, rows: int) -> list[list[dict[str, Any]]]:
        """Refine until every row is done."""
        found: list[list[dict[str, Any]]] = [[] for _ in range(rows)]
        sentences = torch.arange(rows, device=out.output_tokens.device)
        previous = out.output_tokens.clone()
        for step in range(self.max_iter + 1):
            out = model.forward_decoder(
                out._replace(step=step, max_step=self.max_iter + 1),
                encoder_out,
                eos_penalty=self.eos_penalty,
                max_ratio=self.max_ratio,
                decoding_format=self.decoding_format,
            )
            if step == self.max_iter:
                done = torch.ones_like(sentences, dtype=torch.bool)
            elif self.adaptive:
                done, out = self._unchanged(previous, out)
            else:
                done = torch.zeros_like(sentences, dtype=torch.bool)
            self._collect(found, step, sentences, done, out)
            if bool(done.all()):
                break
            keep = ~done
            out = out._replace(
                output_tokens=out.output_tokens[keep],
                output_scores=out.output_scores[keep],
                attn=out.attn[keep] if out.attn is not None and out.attn.size(0) > 0 else None,
                history=[earlier[keep] for earlier in out.history] if out.history is not None else None,
            )
            encoder_out = model.encoder.reorder_encoder_out(encoder_out, keep.nonzero(as_tuple=True)[0])
            sentences = sentences[keep]
            previous = out.output_tokens.clone()
        return found

    def _unchanged(self, previous: Tensor, out: DecoderOut) -> tuple[Tensor, DecoderOut]:
        """Which rows equal their previous version; the shorter of the two is padded first."""
        old, new = previous.size(1), out.output_tokens.size(1)
        if old > new:
            fill = (0, old - new)
            pad = torch.nn.functional.pad
            attn = out.attn
            out = out._replace(
                output_tokens=pad(out.output_tokens, fill, value=self.pad),
                output_scores=pad(out.output_scores, fill, value=0.0),
                attn=pad(attn, (0, 0, *fill), value=0.0) if attn is not None else None,
            )
        elif old < new:
            previous = torch.nn.functional.pad(previous, (0, new - old), value=self.pad)
        return (previous == out.output_tokens).all(dim=1), out

    def _collect(
        self, found: list[list[dict[str, Any]]], step: int, sentences: Tensor, done: Tensor, out: DecoderOut
    ) -> None:
        """Write down the rows that are done."""
        has_attention = out.attn is not None and out.attn.size(0) > 0
        for row in done.nonzero(as_tuple=True)[0].tolist():
            attention = out.attn[row] if has_attention else None
            entry = self._hypothesis(step, out.output_tokens[row], out.output_scores[row], attention)
            if self.retain_history:
                entry["history"] = [self._hypothesis(step, earlier[row], None, None) for earlier in out.history]
            found[int(sentences[row])] = [entry]

    def _hypothesis(self, step: int, tokens: Tensor, scores: Tensor | None, attention: Tensor | None) -> dict[str, Any]:
        real = tokens.ne(self.pad)
        scores = scores[real] if scores is not None else None
        attention = attention[real] if attention is not None else None
        return {
            "steps": step,
            "tokens": tokens[real],
            "positional_scores": scores,
            "score": scores.mean() if scores is not None else None,
            "hypo_attn": attention,
            "alignment": attention.max(dim=1)[1] if attention is not None else None,
        }

    def rerank(
        self, reranker: Any, finalized: list[list[dict[str, Any]]], encoder_input: Sequence[Tensor], beam_size: int
    ) -> list[list[dict[str, Any]]]:
        """Replace each score by the mean log-probability an autoregressive model gives to the words after the first."""
        outputs = [hypotheses[0]["tokens"] for hypotheses in finalized]
        tokens = torch.nn.utils.rnn.pad_sequence(outputs, batch_first=True, padding_value=self.pad)
        rows = torch.arange(encoder_input[0].size(0), device=tokens.device).repeat_interleave(beam_size)
        encoder_out = reranker.encoder.reorder_encoder_out(reranker.encoder(*encoder_input), rows)
        decoded = reranker.decoder(tokens[:, :-1], encoder_out)
        lprobs = reranker.get_normalized_probs(decoded, log_probs=True, sample=None)
        words = tokens[:, 1:]
        real = words.ne(self.pad)
        single = lprobs.gather(2, words.unsqueeze(2)).squeeze(2).masked_fill(~real, 0.0)
        means = single.sum(dim=1) / real.sum(dim=1).clamp(min=1).to(single)
        for hypotheses, score in zip(finalized, means.unbind()):
            hypotheses[0]["score"] = score
        return finalized
