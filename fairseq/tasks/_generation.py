"""Generation options -> search strategy and generator."""

from collections.abc import Callable, Sequence
from typing import Any, Optional

__all__ = ["build_generator", "build_search_strategy"]


def build_search_strategy(
    target_dictionary: Any, args: Any, prefix_allowed_tokens_fn: Optional[Callable[..., Any]] = None
) -> Any:
    """The strategy that the options ask for, plain beam search by default.

    Raises:
        ValueError: more than one is asked for.
        AssertionError: options of sampling without ``--sampling``.
    """
    from fairseq import search

    sampling = getattr(args, "sampling", False)
    topk = getattr(args, "sampling_topk", -1)
    topp = getattr(args, "sampling_topp", -1.0)
    groups = getattr(args, "diverse_beam_groups", -1)
    match_source_len = getattr(args, "match_source_len", False)
    diversity_rate = getattr(args, "diversity_rate", -1)
    constrained: Any = getattr(args, "constraints", False)
    if prefix_allowed_tokens_fn is None:
        prefix_allowed_tokens_fn = getattr(args, "prefix_allowed_tokens_fn", None)
    if sum(map(bool, (sampling, groups > 0, match_source_len, diversity_rate > 0))) > 1:
        raise ValueError(
            "Provided Search parameters are mutually exclusive. Choose one of --sampling, --diverse-beam-groups, "
            "--match-source-len and --diversity-rate."
        )
    if topk >= 0 and not sampling:
        raise AssertionError("--sampling-topk requires --sampling")
    if topp >= 0 and not sampling:
        raise AssertionError("--sampling-topp requires --sampling")

    if sampling:
        return search.Sampling(target_dictionary, topk, topp)
    if groups > 0:
        return search.DiverseBeamSearch(target_dictionary, groups, getattr(args, "diverse_beam_strength", 0.5))
    if match_source_len:
        # As many tokens as the source has.
        return search.LengthConstrainedBeamSearch(target_dictionary, min_len_a=1, min_len_b=0, max_len_a=1, max_len_b=0)
    if diversity_rate > -1:
        return search.DiverseSiblingsSearch(target_dictionary, diversity_rate)
    if constrained:
        return search.LexicallyConstrainedBeamSearch(target_dictionary, constrained)
    if prefix_allowed_tokens_fn:
        return search.PrefixConstrainedBeamSearch(target_dictionary, prefix_allowed_tokens_fn)
    return search.BeamSearch(target_dictionary)


def build_generator(
    target_dictionary: Any,
    models: Sequence[Any],
    args: Any,
    seq_gen_cls: Any = None,
    extra_gen_cls_kwargs: Optional[dict[str, Any]] = None,
    prefix_allowed_tokens_fn: Optional[Callable[..., Any]] = None,
) -> Any:
    """See :meth:`fairseq.tasks.fairseq_task.FairseqTask.build_generator`."""
    if getattr(args, "score_reference", False):
        from fairseq.sequence_scorer import SequenceScorer

        return SequenceScorer(target_dictionary, compute_alignment=getattr(args, "print_alignment", False))

    strategy = build_search_strategy(target_dictionary, args, prefix_allowed_tokens_fn)
    further = dict(extra_gen_cls_kwargs or {})
    if seq_gen_cls is None:
        from fairseq.sequence_generator import SequenceGenerator, SequenceGeneratorWithAlignment

        if getattr(args, "print_alignment", False):
            seq_gen_cls = SequenceGeneratorWithAlignment
            further["print_alignment"] = args.print_alignment
        else:
            seq_gen_cls = SequenceGenerator
    return seq_gen_cls(
        models,
        target_dictionary,
        beam_size=getattr(args, "beam", 5),
        max_len_a=getattr(args, "max_len_a", 0),
        max_len_b=getattr(args, "max_len_b", 200),
        min_len=getattr(args, "min_len", 1),
        normalize_scores=not getattr(args, "unnormalized", False),
        len_penalty=getattr(args, "lenpen", 1),
        unk_penalty=getattr(args, "unkpen", 0),
        temperature=getattr(args, "temperature", 1.0),
        match_source_len=getattr(args, "match_source_len", False),
        no_repeat_ngram_size=getattr(args, "no_repeat_ngram_size", 0),
        search_strategy=strategy,
        **further,
    )
