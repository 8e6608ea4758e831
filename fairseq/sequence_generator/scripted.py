"""The search as ``torch.jit.script`` compiles it: what scripting a ``SequenceGenerator`` or an ``EnsembleModel`` gives.

One file, plain, in the part of Python that TorchScript knows; nothing but scripting comes here. The steps are those of
``generator``, so the same tokens come out. Everything follows the hypotheses by ``index_select``.

Shapes:  n = sentences still in the batch, B = beam, N = n x B rows (B in a row share a sentence), S = source length,
         V = vocabulary
"""

import math
import typing
from typing import Any, Dict, Final, List, Optional, Tuple

import torch
from torch import Tensor, nn

__all__ = ["ScriptableEnsemble", "ScriptableGenerator", "ScriptableMember"]

State = Dict[str, Dict[str, Optional[Tensor]]]
Outputs = Dict[str, List[Tensor]]


class ScriptableMember(nn.Module):
    """One model, behind types that all models share.

    Args:
        model: with an incremental decoder; its encoder, if it has one, returns a dictionary of lists of tensors, or
            four tensors.

    Raises:
        NotImplementedError: a model that computes probabilities of its own, or has no incremental decoder.
    """

    has_encoder: Final[bool]
    gives_four_tensors: Final[bool]
    gives_bare_attention: Final[bool]

    def __init__(self, model: Any) -> None:
        super().__init__()
        _check_model(model)
        self.decoder = model.decoder
        self.has_encoder = hasattr(model, "encoder")
        if self.has_encoder:
            self.encoder = model.encoder
        encoded = _returned(model.encoder) if self.has_encoder else None
        self.gives_four_tensors = typing.get_args(encoded) == (Tensor,) * 4
        decoded = typing.get_args(_returned(model.decoder))
        self.gives_bare_attention = len(decoded) == 2 and decoded[1] == Optional[Tensor]

    def forward(self) -> None:
        """Nothing: a member is asked for encoder outputs and decoder steps."""

    def encode(self, net_input: Dict[str, Tensor]) -> Outputs:
        """The encoder output; without an encoder an empty one."""
        outputs: Outputs = {}
        if self.has_encoder:
            if self.gives_four_tensors:
                a, b, c, d = self.encoder.forward_torchscript(net_input)
                outputs = {"outputs": [a, b, c, d]}
            else:
                outputs = self.encoder.forward_torchscript(net_input)
        # Instead of no_grad(): PyTorch 2.4 fails to optimise models in such a block.
        detached: Outputs = {}
        for name in outputs.keys():  # noqa: SIM118  TorchScript iterates over keys() only
            detached[name] = [tensor.detach() for tensor in outputs[name]]
        return detached

    def follow(self, outputs: Outputs, rows: Tensor) -> Outputs:
        """Select rows of an encoder output."""
        selected: Outputs = {}
        if self.has_encoder:
            if self.gives_four_tensors:
                held = outputs["outputs"]
                a, b, c, d = self.encoder.reorder_encoder_out((held[0], held[1], held[2], held[3]), rows)
                selected = {"outputs": [a, b, c, d]}
            else:
                selected = self.encoder.reorder_encoder_out(outputs, rows)
        return selected

    def step(
        self, tokens: Tensor, outputs: Outputs, state: State, temperature: float
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """Log-probabilities ``(N, V)`` of the token after ``tokens`` ``(N, length)``, and attention ``(N, S)``."""
        if self.has_encoder:
            if self.gives_four_tensors:
                held = outputs["outputs"]
                given = (held[0], held[1], held[2], held[3])
                logits, extra = self.decoder(tokens, encoder_out=given, incremental_state=state)
            else:
                logits, extra = self.decoder(tokens, encoder_out=outputs, incremental_state=state)
        else:
            logits, extra = self.decoder(tokens, incremental_state=state)
        _detach(state)
        attention: Optional[Tensor] = None
        if self.gives_bare_attention:
            attention = extra
        elif extra is not None and "attn" in extra:
            found = extra["attn"]
            if len(found) > 0:
                attention = found[0]
        if attention is not None:
            attention = attention[:, -1].detach()
        logits = logits[:, -1:].detach()
        if temperature != 1.0:
            logits = logits / temperature
        return self.decoder.get_normalized_probs((logits, None), True, None)[:, -1], attention


def _detach(state: Dict[str, Dict[str, Optional[Tensor]]]) -> None:
    """Let what a decoder keeps forget how it was computed; see ``ScriptableMember.encode``."""
    for entries in state.values():
        for name in entries.keys():  # noqa: SIM118  TorchScript iterates over keys() only
            kept = entries[name]
            if kept is not None:
                entries[name] = kept.detach()


def _check_model(model: Any) -> None:
    from fairseq.models.fairseq_incremental_decoder import FairseqIncrementalDecoder
    from fairseq.models.fairseq_model import BaseFairseqModel
    from fairseq.models.feature_forward import is_plain_softmax

    softmax = getattr(type(model), "get_normalized_probs", None)
    if not isinstance(getattr(model, "decoder", None), FairseqIncrementalDecoder):
        raise NotImplementedError(f"{type(model).__name__} cannot be scripted: it has no incremental decoder")
    if softmax is not BaseFairseqModel.get_normalized_probs and not is_plain_softmax(softmax):
        raise NotImplementedError(f"{type(model).__name__} cannot be scripted: it overrides get_normalized_probs")


def _returned(module: nn.Module) -> Any:
    """The annotated result of a module's ``forward``."""
    return typing.get_type_hints(type(module).forward).get("return")


class ScriptableEnsemble(nn.Module):
    """Several models that vote: the mean of their probabilities.

    Args:
        models: encoder-decoder models, or language models.
        limit: the longest output they take, in tokens.
    """

    def __init__(self, models: Any, limit: int) -> None:
        super().__init__()
        self.members = nn.ModuleList([ScriptableMember(model) for model in models])
        self.models_size = len(self.members)
        self.limit = int(limit)

    def forward(self) -> None:
        """Nothing: an ensemble is asked for encoder outputs and decoder steps."""

    @torch.jit.export
    def max_decoder_positions(self) -> int:
        """The shortest of the models' length limits."""
        return self.limit

    @torch.jit.export
    def forward_encoder(self, net_input: Dict[str, Tensor]) -> List[Dict[str, List[Tensor]]]:
        """The encoder output of every model."""
        outputs: List[Dict[str, List[Tensor]]] = []
        for member in self.members:
            outputs.append(member.encode(net_input))  # type: ignore[operator]
        return outputs

    @torch.jit.export
    def forward_decoder(
        self,
        tokens: Tensor,
        encoder_outs: List[Dict[str, List[Tensor]]],
        incremental_states: List[Dict[str, Dict[str, Optional[Tensor]]]],
        temperature: float = 1.0,
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """Log-probabilities ``(N, V)`` of the token after ``tokens`` ``(N, length)``, and attention ``(N, S)``."""
        votes: List[Tensor] = []
        attention: Optional[Tensor] = None
        for i, member in enumerate(self.members):
            vote, seen = member.step(tokens, encoder_outs[i], incremental_states[i], temperature)  # type: ignore[operator]
            votes.append(vote)
            if seen is not None:
                attention = seen if attention is None else attention + seen
        if self.models_size == 1:
            return votes[0], attention
        mean = torch.logsumexp(torch.stack(votes), dim=0) - math.log(self.models_size)
        return mean, attention if attention is None else attention / self.models_size

    @torch.jit.export
    def reorder_encoder_out(
        self, encoder_outs: List[Dict[str, List[Tensor]]], new_order: Tensor
    ) -> List[Dict[str, List[Tensor]]]:
        """Select the rows ``new_order`` of every model's encoder output."""
        outputs: List[Dict[str, List[Tensor]]] = []
        for i, member in enumerate(self.members):
            outputs.append(member.follow(encoder_outs[i], new_order))  # type: ignore[operator]
        return outputs

    @torch.jit.export
    def reorder_incremental_state(
        self, incremental_states: List[Dict[str, Dict[str, Optional[Tensor]]]], new_order: Tensor
    ) -> None:
        """Select the rows ``new_order`` of everything the decoders keep, in place."""
        for i, member in enumerate(self.members):
            decoder = member.decoder
            decoder.reorder_incremental_state_scripting(incremental_states[i], new_order)  # type: ignore

    @torch.jit.export
    def new_states(self) -> List[Dict[str, Dict[str, Optional[Tensor]]]]:
        """One empty incremental state per model."""
        states: List[Dict[str, Dict[str, Optional[Tensor]]]] = []
        for _ in range(self.models_size):
            state: Dict[str, Dict[str, Optional[Tensor]]] = {}
            states.append(state)
        return states


class ScriptableGenerator(nn.Module):
    """Generate outputs, token by token, with a search strategy.

    Args:
        generator: a ``SequenceGenerator``, whose settings and models these are.
    """

    has_language_model: Final[bool]
    blocks_repeats: Final[bool]
    needs_src_lengths: Final[bool]
    suppressed: Tensor

    def __init__(self, generator: Any) -> None:
        super().__init__()
        self.model = ScriptableEnsemble(generator.model.models, generator.model.max_decoder_positions())
        self.search = generator.search
        self.needs_src_lengths = bool(generator.should_set_src_lengths)
        self.has_language_model = generator.lm_model is not None
        if self.has_language_model:
            self.language_model = ScriptableEnsemble([generator.lm_model], generator.max_len)
        self.lm_weight = float(generator.lm_weight)
        self.blocks_repeats = generator.repeat_ngram_blocker is not None
        if self.blocks_repeats:
            self.repeat_ngram_blocker = generator.repeat_ngram_blocker
        self.no_repeat_words = bool(generator.no_repeat_words)
        suppressed = generator.token_indices_to_suppress
        self.register_buffer(
            "suppressed", torch.empty(0, dtype=torch.long) if suppressed is None else suppressed, persistent=False
        )
        self.pad, self.unk, self.eos = int(generator.pad), int(generator.unk), int(generator.eos)
        self.beam_size = int(generator.beam_size)
        self.min_len, self.max_len = int(generator.min_len), int(generator.max_len)
        self.max_len_a, self.max_len_b = float(generator.max_len_a), int(generator.max_len_b)
        self.match_source_len = bool(generator.match_source_len)
        self.normalize_scores, self.len_penalty = bool(generator.normalize_scores), float(generator.len_penalty)
        self.unk_penalty, self.temperature = float(generator.unk_penalty), float(generator.temperature)

    def forward(
        self,
        sample: Dict[str, Dict[str, Tensor]],
        prefix_tokens: Optional[Tensor] = None,
        bos_token: Optional[int] = None,
    ) -> List[List[Dict[str, Tensor]]]:
        """See ``SequenceGenerator.forward``; ``sample`` holds ``net_input`` only."""
        return self._generate(sample, prefix_tokens, None, bos_token)

    @torch.jit.export
    def _generate(
        self,
        sample: Dict[str, Dict[str, Tensor]],
        prefix_tokens: Optional[Tensor] = None,
        constraints: Optional[Tensor] = None,
        bos_token: Optional[int] = None,
    ) -> List[List[Dict[str, Tensor]]]:
        if constraints is not None:
            raise NotImplementedError("a scripted generator takes no constraints")
        return self._all_steps(sample["net_input"], prefix_tokens, bos_token)

    def _all_steps(
        self, net_input: Dict[str, Tensor], prefix_tokens: Optional[Tensor], bos_token: Optional[int]
    ) -> List[List[Dict[str, Tensor]]]:
        """Decode -> rules -> search -> finish -> advance, until every sentence is complete."""
        beam = self.beam_size
        source, src_lengths = self._source(net_input)
        bsz = source.size(0)
        max_len = self._length_limit(source.size(1), src_lengths)
        inputs = net_input.copy()
        if "src_tokens" in inputs and "src_lengths" not in inputs:
            inputs["src_lengths"] = src_lengths
        encoder_outs = self.model.forward_encoder(inputs)
        each = torch.arange(bsz, device=source.device)
        encoder_outs = self.model.reorder_encoder_out(encoder_outs, each.repeat_interleave(beam))
        states = self.model.new_states()
        lm_states = self.model.new_states()

        # The hypotheses: tokens (N, step + 1), cumulative scores (N, step), attention (N, S, step).
        first = self.eos if bos_token is None else bos_token
        tokens = torch.full([bsz * beam, 1], first, dtype=torch.long, device=source.device)
        scores = torch.zeros([bsz * beam, 0], device=source.device)
        attention = torch.zeros([bsz * beam, 0, 0], device=source.device)
        # Beams (n, B) that repeat a used-up candidate and may not finish again.
        ignore = torch.zeros([bsz, beam], dtype=torch.bool, device=source.device)
        found: List[List[Dict[str, Tensor]]] = []
        for _ in range(bsz):
            hypotheses: List[Dict[str, Tensor]] = []
            found.append(hypotheses)
        # Positions of the sentences (n,) in the original batch.
        sentences = each

        # One step more than words: the last one can only end hypotheses.
        for step in range(max_len + 1):
            lprobs, seen = self.model.forward_decoder(tokens, encoder_outs, states, self.temperature)
            if seen is not None:
                column = seen.unsqueeze(2)
                attention = column if step == 0 else torch.cat([attention, column], dim=2)
            if self.has_language_model:
                vote, _ = self.language_model.forward_decoder(
                    tokens, self.language_model.forward_encoder({}), lm_states
                )
                lprobs = lprobs + vote * self.lm_weight
            lprobs, tokens, scores = self._rules(step, max_len, lprobs, tokens, scores, prefix_tokens)

            n = sentences.size(0)
            if self.needs_src_lengths:
                self.search.set_src_lengths(src_lengths)
            cand_scores, cand_tokens, cand_beams = self.search.step(
                step, lprobs.view(n, beam, -1), scores.view(n, beam, step), tokens, sentences
            )
            rows = cand_beams + torch.arange(n, device=tokens.device).mul(beam).unsqueeze(1)
            ends = cand_tokens.eq(self.eos) & cand_scores.ne(-math.inf)
            # TorchScript would drop an in-place &= on a slice.
            ends = torch.cat([ends[:, :beam] & ~ignore, ends[:, beam:]], dim=1)

            complete = self._collect(step, max_len, ends, rows, cand_scores, tokens, scores, attention, src_lengths,
                                     sentences, found)  # fmt: skip
            if all(complete) or (self.search.stop_on_max_len and step >= max_len):
                break
            if any(complete):
                keep = torch.tensor(complete, device=source.device).logical_not().nonzero().view(-1)
                self.search.prune_sentences(keep)
                sentences, src_lengths = sentences.index_select(0, keep), src_lengths.index_select(0, keep)
                rows, ends, ignore = (
                    rows.index_select(0, keep), ends.index_select(0, keep), ignore.index_select(0, keep)
                )  # fmt: skip
                cand_scores, cand_tokens = cand_scores.index_select(0, keep), cand_tokens.index_select(0, keep)
                if prefix_tokens is not None:
                    prefix_tokens = prefix_tokens.index_select(0, keep)

            # The first B candidates that neither end nor were used up; what is missing is filled with used-up ones.
            count = ends.size(1)
            used = torch.cat([ends[:, :beam] | ignore, ends[:, beam:]], dim=1)
            order = torch.arange(count, device=ends.device)
            rank, chosen = (used * count + order).topk(beam, dim=1, largest=False)
            ignore = rank.ge(count)
            if bool(ignore.all(dim=1).any()):
                raise AssertionError("a sentence has no hypothesis left that could go on")

            going = rows.gather(1, chosen).view(-1)
            tokens = torch.cat([tokens.index_select(0, going), cand_tokens.gather(1, chosen).view(-1, 1)], dim=1)
            scores = torch.cat([scores.index_select(0, going), cand_scores.gather(1, chosen).view(-1, 1)], dim=1)
            attention = attention.index_select(0, going)
            self.model.reorder_incremental_state(states, going)
            encoder_outs = self.model.reorder_encoder_out(encoder_outs, going)
            if self.has_language_model:
                self.language_model.reorder_incremental_state(lm_states, going)

        ordered: List[List[Dict[str, Tensor]]] = []
        for hypotheses in found:
            ordered.append(_best_first(hypotheses))
        return ordered

    def _rules(
        self, step: int, max_len: int, lprobs: Tensor, tokens: Tensor, scores: Tensor, prefix: Optional[Tensor]
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """Edit ``lprobs`` ``(N, V)`` so that only allowed tokens are left; returns ``(lprobs, tokens, scores)``."""
        lprobs = torch.nan_to_num(lprobs, nan=-math.inf, posinf=math.inf, neginf=-math.inf)
        lprobs[:, self.pad] = -math.inf
        lprobs[:, self.unk] -= self.unk_penalty
        if step >= max_len:
            lprobs[:, : self.eos] = -math.inf
            lprobs[:, self.eos + 1 :] = -math.inf
        if prefix is not None and step < prefix.size(1) and step < max_len:
            lprobs, tokens, scores = self._follow_prefix(step, lprobs, tokens, scores, prefix)
        else:
            if step < self.min_len:
                lprobs[:, self.eos] = -math.inf
            lprobs[:, self.suppressed] = -math.inf
        if self.blocks_repeats:
            if self.no_repeat_words:
                ending = lprobs[:, self.eos].clone()
                lprobs = lprobs.scatter(1, tokens[:, 1:], -math.inf)
                lprobs[:, self.eos] = ending
            lprobs = self.repeat_ngram_blocker(tokens, lprobs, tokens.size(0) // self.beam_size, self.beam_size, step)
        return lprobs.to(scores.dtype), tokens, scores

    def _follow_prefix(
        self, step: int, lprobs: Tensor, tokens: Tensor, scores: Tensor, prefix: Tensor
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """Where a row's prefix has a token, that token; a prefix that ends makes all beams of its sentence equal."""
        beam = self.beam_size
        wanted = prefix[:, step].to(lprobs.device).repeat_interleave(beam).unsqueeze(1)
        kept = lprobs.gather(1, wanted)
        # Rows that are free write their own value back.
        lprobs = lprobs.masked_fill(wanted.ne(self.pad), -math.inf).scatter(1, wanted, kept)
        over = wanted.view(-1, beam)[:, 0].eq(self.eos)
        if bool(over.any()):
            followed = tokens.view(-1, beam, tokens.size(1))[:, 0, 1 : step + 1]
            expected = prefix[:, :step].to(tokens.device)
            if not torch.equal(followed[over], expected[over]):
                raise AssertionError("the first beam left its prefix before the prefix ended")
            each = torch.arange(tokens.size(0), device=tokens.device)
            rows = torch.where(over.repeat_interleave(beam), each - each % beam, each)
            lprobs, tokens, scores = (
                lprobs.index_select(0, rows), tokens.index_select(0, rows), scores.index_select(0, rows)
            )  # fmt: skip
        return lprobs, tokens, scores

    def _collect(
        self,
        step: int,
        max_len: int,
        ends: Tensor,
        rows: Tensor,
        cand_scores: Tensor,
        tokens: Tensor,
        scores: Tensor,
        attention: Tensor,
        src_lengths: Tensor,
        sentences: Tensor,
        found: List[List[Dict[str, Tensor]]],
    ) -> List[bool]:
        """Take out hypotheses that end, as long as their sentence wants more; which sentences are complete."""
        beam = self.beam_size
        complete: List[bool] = []
        for i in range(ends.size(0)):
            hypotheses = found[int(sentences[i])]
            for rank in range(beam):
                if bool(ends[i, rank]) and len(hypotheses) < beam:
                    row = int(rows[i, rank])
                    total = cand_scores[i, rank].to(scores.dtype)
                    cumulative = torch.cat([scores[row], total.view(1)])
                    score = total / float(step + 1) ** self.len_penalty if self.normalize_scores else total
                    if self.match_source_len and step > int(src_lengths[i]):
                        score = torch.full_like(score, -math.inf)
                    single = cumulative.clone()
                    single[1:] -= cumulative[:-1]
                    ending = torch.full([1], self.eos, dtype=torch.long, device=tokens.device)
                    hypotheses.append(
                        {
                            "tokens": torch.cat([tokens[row, 1:], ending]),
                            "score": score,
                            "attention": attention[row] if attention.size(1) > 0 else torch.empty(0),
                            "alignment": torch.empty(0),
                            "positional_scores": single,
                        }
                    )
            complete.append(len(hypotheses) >= beam or step == max_len)
        return complete

    def _source(self, net_input: Dict[str, Tensor]) -> Tuple[Tensor, Tensor]:
        """The tensor whose first two sizes are batch and source length, and the lengths ``(bsz,)``."""
        if "src_tokens" in net_input:
            source = net_input["src_tokens"]
            if "src_lengths" in net_input:
                return source, net_input["src_lengths"]
            return source, (source.ne(self.eos) & source.ne(self.pad)).long().sum(dim=1)
        source = net_input["source"] if "source" in net_input else net_input["features"]
        if "padding_mask" in net_input:
            mask = net_input["padding_mask"]
            return source, mask.size(-1) - mask.sum(-1)
        return source, torch.full([source.size(0)], source.size(1), device=source.device)

    def _length_limit(self, src_len: int, src_lengths: Tensor) -> int:
        """Tokens an output may have, its end not counted."""
        if self.match_source_len:
            max_len = int(src_lengths.max())
        else:
            max_len = min(int(self.max_len_a * src_len + self.max_len_b), self.max_len - 1)
        if self.min_len > max_len:
            raise AssertionError("min_len cannot be larger than max_len, please adjust these!")
        return max_len


def _best_first(hypotheses: List[Dict[str, Tensor]]) -> List[Dict[str, Tensor]]:
    """Sorted by score; equal ones stay in the order in which they finished."""
    ordered: List[Dict[str, Tensor]] = []
    if len(hypotheses) > 0:
        scores = torch.stack([hypothesis["score"].cpu() for hypothesis in hypotheses])
        order: List[int] = torch.sort(scores, stable=True, dim=0, descending=True)[1].tolist()
        for i in order:
            ordered.append(hypotheses[i])
    return ordered
