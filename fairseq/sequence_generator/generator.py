"""Search for the best outputs of a batch of inputs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fairseq.ngram_repeat_block import NGramRepeatBlock
from fairseq.search import BeamSearch, Search
from fairseq.sequence_generator import logit_rules
from fairseq.sequence_generator.beam_state import BeamState
from fairseq.sequence_generator.engine.ensemble import EngineSteps
from fairseq.sequence_generator.ensemble import EnsembleModel
from fairseq.sequence_generator.finalize import Collector, Hypothesis, append_hypotheses
from fairseq.sequence_generator.shallow_fusion import ShallowFusion
from fairseq.utils.devices import leave_out_cudnn_attention

__all__ = ["SequenceGenerator"]

logger = logging.getLogger(__name__)


class SequenceGenerator(nn.Module):
    """Generate outputs, word by word, with a search strategy.

    Args:
        models: the ensemble; put into eval mode.
        tgt_dict: dictionary of the outputs.
        beam_size: hypotheses per input, at most the vocabulary minus one.
        max_len_a, max_len_b: an output has at most ``a * padded source length + b`` words, its end not counted.
        max_len: bound on the length whatever the source; 0 for the models' limit.
        min_len: words before an output may end.
        normalize_scores: divide a hypothesis's score by ``length ** len_penalty``.
        len_penalty: below 1 favours shorter, above 1 longer outputs.
        unk_penalty: taken off the unknown word; negative invites it.
        temperature: divides the models' scores; above 1 flattens, below 1 sharpens.
        match_source_len: outputs may not be longer than their input.
        no_repeat_ngram_size: no sequence of this many words twice; 0 for no rule.
        search_strategy: default beam search.
        eos: the word that begins and ends outputs; default the dictionary's.
        symbols_to_strip_from_output: ids that callers should not print.
        lm_model, lm_weight: a language model over ``tgt_dict`` whose weighted log-probabilities are added.
        tokens_to_suppress: words never to say.

    Raises:
        AssertionError: ``temperature`` is not positive, or a word to suppress is not in the dictionary.
    """

    # How steps of models are computed that leave it to us: "engine", from their weights; "cuda_graph", the same in
    # tensors of few shapes that stay where they are, which a GPU records and plays again; "modules", by their forward.
    stepping: str = "engine"

    def __init__(
        self,
        models: Any,
        tgt_dict: Any,
        beam_size: int = 1,
        max_len_a: float = 0,
        max_len_b: int = 200,
        max_len: int = 0,
        min_len: int = 1,
        normalize_scores: bool = True,
        len_penalty: float = 1.0,
        unk_penalty: float = 0.0,
        temperature: float = 1.0,
        match_source_len: bool = False,
        no_repeat_ngram_size: int = 0,
        search_strategy: Search | None = None,
        eos: int | None = None,
        symbols_to_strip_from_output: Iterable[int] | None = None,
        lm_model: nn.Module | None = None,
        lm_weight: float = 1.0,
        tokens_to_suppress: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.model = models if isinstance(models, EnsembleModel) else EnsembleModel(models)
        self.tgt_dict = tgt_dict
        self.pad = tgt_dict.pad()
        self.unk = tgt_dict.unk()
        self.eos = tgt_dict.eos() if eos is None else eos
        self.symbols_to_strip_from_output = {*(symbols_to_strip_from_output or ()), self.eos}
        self.token_indices_to_suppress = _suppressed(tgt_dict, tokens_to_suppress)
        self.vocab_size = len(tgt_dict)
        # One word of the vocabulary has to stay for a beam's competitor.
        self.beam_size = min(beam_size, self.vocab_size - 1)
        if self.beam_size > 1:
            self.model.set_decoder_beam_size(self.beam_size)
        # How long outputs may be,
        self.min_len, self.match_source_len = min_len, match_source_len
        self.max_len_a, self.max_len_b = max_len_a, max_len_b
        self.max_len = max_len or self.model.max_decoder_positions()
        # and how they compete.
        self.normalize_scores, self.len_penalty = normalize_scores, len_penalty
        self.unk_penalty, self.temperature = unk_penalty, temperature
        if temperature <= 0:
            raise AssertionError("--temperature must be greater than 0")
        self.no_repeat_words = no_repeat_ngram_size == 1
        self.repeat_ngram_blocker = NGramRepeatBlock(no_repeat_ngram_size) if no_repeat_ngram_size > 0 else None
        self.search = BeamSearch(tgt_dict) if search_strategy is None else search_strategy
        self.should_set_src_lengths = bool(getattr(self.search, "needs_src_lengths", False))
        self.model.eval()
        self.lm_model = lm_model
        self.lm_weight = lm_weight
        if self.lm_model is not None:
            self.lm_model.eval()

    def __prepare_scriptable__(self) -> nn.Module:
        """What ``torch.jit.script`` compiles in place of this module.

        Raises:
            NotImplementedError: a subclass changes the search; TorchScript would not see it.
        """
        from fairseq.sequence_generator.scripted import ScriptableGenerator

        for name in ("forward", "generate", "_generate", "finalize_hypos", "is_finished", "_prefix_tokens"):
            if getattr(type(self), name) is not getattr(SequenceGenerator, name):
                raise NotImplementedError(f"{type(self).__name__} cannot be scripted: it overrides {name}")
        # One row of keys per hypothesis, whatever other generators these models are used by.
        self.model.set_decoder_beam_size(1)
        return ScriptableGenerator(self)

    def cuda(self, device: Any = None) -> SequenceGenerator:
        """Move the models to a GPU."""
        self.model.cuda(device)
        return self

    @torch.no_grad()
    def forward(
        self, sample: dict[str, Any], prefix_tokens: Tensor | None = None, bos_token: int | None = None
    ) -> list[list[Hypothesis]]:
        """``generate`` for one batch, without its first argument."""
        return self._generate(sample, prefix_tokens, bos_token=bos_token)

    @torch.no_grad()
    def generate(self, models: Any, sample: dict[str, Any], **kwargs: Any) -> list[list[Hypothesis]]:
        """Generate outputs for a batch.

        Args:
            models: not used, the generator was built with its models; kept for callers.
            sample: a batch; ``sample["net_input"]`` holds ``src_tokens`` ``(bsz, S)``, or ``source`` or ``features``
                with ``padding_mask``.
            kwargs: ``prefix_tokens`` ``(bsz, length)`` that outputs must begin with (padding ends a prefix),
                ``constraints`` (packed, see ``token_generation_constraints``), ``bos_token`` to begin with.

        Returns:
            For each input its hypotheses, best first: dicts of ``tokens`` (int64, ending with ``eos``), ``score``
            (0-dim), ``attention`` ``(S, length)`` or empty, ``alignment`` (empty here), ``positional_scores``
            ``(length,)``; scores are natural logarithms.
        """
        return self._generate(sample, **kwargs)

    @torch.no_grad()
    def generate_batched_itr(
        self, data_itr: Iterable[Any], beam_size: int | None = None, cuda: bool = False, timer: Any = None
    ) -> Iterator[tuple[Any, Tensor, Tensor | None, list[Hypothesis]]]:
        """Go through an iterator of batches; yields ``(id, source, reference or None, hypotheses)`` per sentence.

        Args:
            beam_size: ignored, the generator was built with one.
            cuda: move batches to the GPU.
            timer: started before and stopped after every batch, with the number of generated words.
        """
        from fairseq import utils

        for sample in data_itr:
            batch = utils.move_to_cuda(sample) if cuda else sample
            if "net_input" not in batch:
                continue
            inputs = batch["net_input"]
            encoder_input = {name: value for name, value in inputs.items() if name != "prev_output_tokens"}
            if timer is not None:
                timer.start()
            hypotheses = self.generate(None, {**batch, "net_input": encoder_input})
            if timer is not None:
                timer.stop(sum(len(h[0]["tokens"]) for h in hypotheses))
            for i, sentence_id in enumerate(batch["id"]):
                source = utils.strip_pad(inputs["src_tokens"][i], self.pad)
                target = batch.get("target")
                reference = utils.strip_pad(target[i], self.pad) if target is not None else None
                yield sentence_id, source, reference, hypotheses[i]

    def _generate(
        self,
        sample: dict[str, Any],
        prefix_tokens: Tensor | None = None,
        constraints: Tensor | None = None,
        bos_token: int | None = None,
    ) -> list[list[Hypothesis]]:
        net_input = sample["net_input"]
        source, src_lengths = self._source(net_input)
        if source.is_cuda:
            leave_out_cudnn_attention()  # here as well, for programs that load and move models themselves
        if constraints is not None and not self.search.supports_constraints:
            raise NotImplementedError(
                "Target-side constraints were provided, but search method doesn't support them. "
                "Build the generator with constraints='ordered' or 'unordered'."
            )
        bsz = source.size(0)
        max_len = self._length_limit(source.size(1), src_lengths)
        self.search.init_constraints(constraints, self.beam_size)
        encoder_outs = self.model.forward_encoder(net_input)
        engine = self._engine(encoder_outs, bsz)
        if engine is None:
            encoder_outs = self._expand(encoder_outs, bsz, source.device)
        ids = sample.get("id")
        state = BeamState(
            batch_ids=ids if isinstance(ids, Tensor) else torch.arange(bsz, device=source.device),
            beam=self.beam_size,
            max_len=max_len,
            first=self.eos if bos_token is None else bos_token,
            pad=self.pad,
            device=source.device,
        )
        run = _Run(self, state, encoder_outs, engine, src_lengths, prefix_tokens, max_len)
        # Other generators may use the same models and expect decoders with one row per source.
        self.model.set_decoder_beam_size(self.beam_size)
        try:
            return run.all_steps()
        finally:
            self.model.set_decoder_beam_size(1)
            if engine is not None:
                engine.close()

    def _engine(self, encoder_outs: Any, bsz: int) -> EngineSteps | None:
        """What steps all models from their weights, if they allow it."""
        if self.stepping == "modules":
            return None
        as_cuda_graphs = self.stepping == "cuda_graph"
        engine = EngineSteps.make(self.model, encoder_outs, bsz, self.beam_size, as_cuda_graphs)
        if engine is None and as_cuda_graphs:
            logger.warning("steps of this model are its own; they are not recorded")
            self.stepping = "engine"
        return engine

    def _source(self, net_input: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """The tensor whose first two sizes are batch and source length, and the lengths ``(bsz,)``."""
        if "src_tokens" in net_input:
            source = net_input["src_tokens"]
            lengths = net_input.get("src_lengths")
            if lengths is None:
                lengths = (source.ne(self.eos) & source.ne(self.pad)).long().sum(dim=1)
            return source, lengths
        for name in ("source", "features"):
            if name in net_input:
                source = net_input[name]
                mask = net_input.get("padding_mask")
                if mask is None:
                    return source, torch.full((source.size(0),), source.size(1), device=source.device)
                return source, mask.size(-1) - mask.sum(-1)
        raise Exception("expected src_tokens or source in net input. input keys: " + str(net_input.keys()))

    def _length_limit(self, src_len: int, src_lengths: Tensor) -> int:
        """Words an output may have, its end not counted."""
        if self.match_source_len:
            max_len = int(src_lengths.max())
        else:
            max_len = min(int(self.max_len_a * src_len + self.max_len_b), self.max_len - 1)
        if self.min_len > max_len:
            raise AssertionError("min_len cannot be larger than max_len, please adjust these!")
        return max_len

    def _expand(self, encoder_outs: Any, bsz: int, device: torch.device) -> Any:
        """Encoder outputs with every sentence repeated for its beams."""
        if encoder_outs is None or self.beam_size == 1:
            return encoder_outs
        rows = torch.arange(bsz, device=device).repeat_interleave(self.beam_size)
        return self.model.reorder_encoder_out(encoder_outs, rows)

    def _prefix_tokens(
        self, step: int, lprobs: Tensor, scores: Tensor, tokens: Tensor, prefix_tokens: Tensor, beam_size: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Make hypotheses follow their prefixes at ``step``; a prefix that ends makes all beams of the sentence equal.

        Returns:
            ``(lprobs, tokens, scores)``, edited.
        """
        wanted = prefix_tokens[:, step].to(lprobs.device).repeat_interleave(beam_size)
        logit_rules.force_prefix(lprobs, wanted, self.pad)
        ends = wanted.eq(self.eos)
        if bool(ends.any()):
            followed = tokens.view(-1, beam_size, tokens.size(-1))[:, 0, 1 : step + 1]
            expected = prefix_tokens[:, :step].to(tokens.device)
            over = ends.view(-1, beam_size)[:, 0]
            if not torch.equal(followed[over], expected[over]):
                raise AssertionError("the first beam left its prefix before the prefix ended")
            tokens = self.replicate_first_beam(tokens, ends, beam_size)
            scores = self.replicate_first_beam(scores, ends, beam_size)
            lprobs = self.replicate_first_beam(lprobs, ends, beam_size)
        return lprobs, tokens, scores

    def replicate_first_beam(self, tensor: Tensor, mask: Tensor, beam_size: int) -> Tensor:
        """Copy the first beam of the chosen sentences over their other beams; see ``logit_rules``."""
        return logit_rules.replicate_first_beam(tensor, mask, beam_size)

    def finalize_hypos(
        self,
        step: int,
        bbsz_idx: Tensor,
        eos_scores: Tensor,
        tokens: Tensor,
        scores: Tensor,
        finalized: list[list[Hypothesis]],
        finished: list[bool],
        beam_size: int,
        attn: Tensor | None,
        src_lengths: Tensor,
        max_len: int,
    ) -> list[int]:
        """Record hypotheses that ended at ``step``. Our own loop calls this only when a subclass overrides it.

        Args:
            bbsz_idx: ``(k,)``, rows of the current batch whose hypotheses ended.
            eos_scores: ``(k,)``, their cumulative scores.
            tokens, scores: ``(rows, > step)``: words behind a first symbol; cumulative scores.
            finalized: per original sentence, what was found; extended.
            finished: per original sentence, whether it is complete; updated.
            attn: ``(rows, S, > step + 1)`` or ``None``; column 0 is unused.
            src_lengths: of the sentences in the current batch.

        Returns:
            positions in the current batch of sentences that are complete now.
        """
        touched = append_hypotheses(
            self, step, bbsz_idx, eos_scores, tokens, scores, finalized, finished, attn, src_lengths
        )
        newly_finished = []
        for sentence, position in touched.items():
            if self.is_finished(step, position, max_len, len(finalized[sentence]), beam_size):
                finished[sentence] = True
                newly_finished.append(position)
        return newly_finished

    def is_finished(self, step: int, unfin_idx: int, max_len: int, finalized_sent_len: int, beam_size: int) -> bool:
        """Whether a sentence with so many finished hypotheses is complete."""
        return finalized_sent_len >= beam_size or step == max_len


class _Run:
    """One batch on its way through the steps."""

    def __init__(
        self,
        generator: SequenceGenerator,
        state: BeamState,
        encoder_outs: Any,
        engine: EngineSteps | None,
        src_lengths: Tensor,
        prefix: Tensor | None,
        max_len: int,
    ) -> None:
        self.generator = generator
        self.state = state
        self.encoder_outs = encoder_outs
        self.engine = engine
        self.all_lengths = src_lengths
        self.src_lengths = src_lengths
        self.prefix = prefix
        self.max_len = max_len
        self.incremental_states: list[dict[str, dict[str, Any]]] = [{} for _ in range(generator.model.models_size)]
        self.language_model = ShallowFusion.make(generator.lm_model, generator.lm_weight)
        self.collector = Collector(
            state.bsz, generator.beam_size, generator.eos, generator.normalize_scores, generator.len_penalty
        )
        cls = type(generator)
        # Subclasses that change how hypotheses end are asked one by one; everything else is collected in groups.
        self.has_hooks = (
            cls.finalize_hypos is not SequenceGenerator.finalize_hypos
            or cls.is_finished is not SequenceGenerator.is_finished
        )
        self.finalized: list[list[Hypothesis]] = [[] for _ in range(state.bsz)]
        self.finished = [False] * state.bsz

    def all_steps(self) -> list[list[Hypothesis]]:
        """Decode -> rules -> search -> finish -> advance, until every sentence is complete."""
        generator, state = self.generator, self.state
        # One step more than words: the last one can only end hypotheses.
        for step in range(self.max_len + 1):
            lprobs = self.rules(step, self.decode(step))
            if generator.should_set_src_lengths:
                generator.search.set_src_lengths(self.src_lengths)
            scores, tokens, beams = generator.search.step(
                step,
                lprobs.view(state.bsz, -1, lprobs.size(1)),
                state.scores.view(state.bsz, generator.beam_size, -1)[:, :, :step],
                state.tokens[:, : step + 1],
                state.batch_ids,
            )
            if not self.finish_and_advance(step, scores, tokens, beams):
                break
        if self.has_hooks:
            return [sorted(found, key=lambda h: -float(h["score"])) for found in self.finalized]
        return self.collector.result(state, self.all_lengths, generator.match_source_len)

    def decode(self, step: int) -> Tensor:
        """Log-probabilities ``(N, V)`` of the next word."""
        generator, state = self.generator, self.state
        if state.reorder is not None:
            self.follow(state.reorder, state.kept)
        state.kept = None
        words = state.tokens[:, : step + 1]
        if self.engine is not None:
            lprobs, attention = self.engine.log_probs(words, generator.temperature)
        else:
            lprobs, attention = generator.model.forward_decoder(
                words, self.encoder_outs, self.incremental_states, generator.temperature
            )
        if attention is not None:
            state.attention.append(attention)
        if self.language_model is not None:
            lprobs = lprobs + self.language_model.log_probs(words)
        return lprobs

    def follow(self, rows: Tensor, kept: Tensor | None) -> None:
        """Let everything that is kept between steps continue ``rows`` of the last one."""
        generator = self.generator
        if self.language_model is not None:
            self.language_model.reorder(rows)
        if self.engine is not None:
            self.engine.follow(rows, kept)
            return
        generator.model.reorder_incremental_state(self.incremental_states, rows)
        if kept is not None:
            # Beams of a sentence share its encoder output: only when sentences leave do rows change.
            self.encoder_outs = generator.model.reorder_encoder_out(self.encoder_outs, rows)

    def rules(self, step: int, lprobs: Tensor) -> Tensor:
        """Edit ``lprobs`` so that only allowed words are left."""
        generator, state = self.generator, self.state
        logit_rules.forbid_not_a_number(lprobs)
        logit_rules.forbid(lprobs, generator.pad)
        logit_rules.penalize_unknown(lprobs, generator.unk, generator.unk_penalty)
        if step >= self.max_len:
            logit_rules.allow_only(lprobs, generator.eos)
        if self.prefix is not None and step < self.prefix.size(1) and step < self.max_len:
            lprobs, state.tokens, state.scores = generator._prefix_tokens(
                step, lprobs, state.scores, state.tokens, self.prefix, generator.beam_size
            )
        else:
            if step < generator.min_len:
                logit_rules.forbid(lprobs, generator.eos)
            if generator.token_indices_to_suppress is not None:
                logit_rules.forbid(lprobs, generator.token_indices_to_suppress.to(lprobs.device))
        if generator.repeat_ngram_blocker is not None:
            if generator.no_repeat_words:
                logit_rules.forbid_used_words(lprobs, state.tokens[:, : step + 1], generator.eos)
            lprobs = generator.repeat_ngram_blocker(
                state.tokens[:, : step + 1], lprobs, state.bsz, generator.beam_size, step
            )
        # Subclasses and searches must not meet a tensor of another type than the scores they add up.
        return lprobs if lprobs.dtype == state.scores.dtype else lprobs.to(state.scores.dtype)

    def finish_and_advance(self, step: int, scores: Tensor, tokens: Tensor, beams: Tensor) -> bool:
        """Take out what ended, move on with the rest; returns whether there is a next step."""
        generator, state = self.generator, self.state
        beam = generator.beam_size
        rows = state.candidate_rows(beams)
        ends = state.endings(tokens, scores, generator.eos)
        # The one point of a step that waits for the device.
        ended = ends[:, :beam].cpu().numpy()
        any_ended = bool(ended.any())
        last = step == self.max_len
        if any_ended or last:
            complete = self.collect(step, ended, rows, scores, last)
            if complete.all():
                return False
        else:
            complete = None
        if generator.search.stop_on_max_len and step >= self.max_len:
            return False
        if last:
            raise AssertionError(f"{step} >= {self.max_len}: the search went past the length limit")
        if complete is not None and complete.any():
            kept = self.prune(np.nonzero(~complete)[0])
            rows, ends = rows.index_select(0, kept), ends.index_select(0, kept)
            scores, tokens = scores.index_select(0, kept), tokens.index_select(0, kept)
        chosen = state.choose(ends if any_ended or not state.all_live else None)
        if chosen is None:
            rows, tokens, scores = rows[:, :beam], tokens[:, :beam], scores[:, :beam]
        else:
            rows, tokens, scores = (part.gather(1, chosen) for part in (rows, tokens, scores))
        if generator.search.supports_constraints:
            if chosen is None:
                chosen = torch.arange(beam).expand(state.bsz, beam)
            generator.search.update_constraints(chosen)
        state.advance(step, rows.reshape(-1), tokens.reshape(-1), scores.reshape(-1))
        return True

    def collect(self, step: int, ended: np.ndarray, rows: Tensor, scores: Tensor, last: bool) -> np.ndarray:
        """Take out hypotheses that ended; NumPy bool ``(n,)``: which sentences are complete."""
        if not self.has_hooks:
            return self.collector.take(self.state, step, ended, rows, scores, last)
        generator, state = self.generator, self.state
        complete = np.zeros(state.bsz, dtype=bool)
        if ended.any():
            where = torch.from_numpy(ended).to(rows.device)
            attention: Tensor | None = None
            if state.attention.steps:
                attention = state.attention.trace(torch.arange(state.tokens.size(0), device=rows.device), step)
                # Third-party code reads column t + 1 for the word of step t.
                attention = torch.cat([attention.new_zeros(*attention.shape[:2], 1), attention], dim=2)
            beam = generator.beam_size
            positions = generator.finalize_hypos(
                step,
                rows[:, :beam][where],
                scores[:, :beam][where],
                state.tokens,
                state.scores,
                self.finalized,
                self.finished,
                beam,
                attention,
                self.src_lengths,
                self.max_len,
            )
            complete[np.asarray(positions, dtype=np.int64)] = True
        return complete | last

    def prune(self, keep: np.ndarray) -> Tensor:
        """Remove finished sentences everywhere; returns the positions that stay."""
        kept = self.state.prune(keep)
        self.generator.search.prune_sentences(kept)
        self.src_lengths = self.state.pruned(self.src_lengths)
        if self.prefix is not None:
            self.prefix = self.state.pruned(self.prefix)
        return kept


def _suppressed(tgt_dict: Any, words: Iterable[str]) -> Tensor | None:
    """Ids of words never to say; ``None`` when there are none."""
    ids = []
    for word in words:
        index = tgt_dict.index(word)
        if index == tgt_dict.unk() and word != tgt_dict.unk_word:
            raise AssertionError(f"tokens_to_suppress: {word!r} is not in the dictionary")
        ids.append(index)
    return torch.tensor(ids, dtype=torch.long) if ids else None
