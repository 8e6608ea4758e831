"""Language modelling: predict the next (or this, or the previous) token of running text."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
import torch

from fairseq.data.append_token_dataset import AppendTokenDataset
from fairseq.data.dictionary import Dictionary, TruncatedDictionary
from fairseq.data.id_dataset import IdDataset
from fairseq.data.indexed_dataset import get_available_dataset_impl
from fairseq.data.lm_context_window_dataset import LMContextWindowDataset
from fairseq.data.monolingual_dataset import MonolingualDataset
from fairseq.data.nested_dictionary_dataset import NestedDictionaryDataset
from fairseq.data.numel_dataset import NumelDataset
from fairseq.data.pad_dataset import PadDataset
from fairseq.data.prepend_token_dataset import PrependTokenDataset
from fairseq.data.shorten_dataset import maybe_shorten_dataset
from fairseq.data.strip_token_dataset import StripTokenDataset
from fairseq.data.token_block_dataset import TokenBlockDataset
from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.constants import ChoiceEnum
from fairseq.dataclass.fields import option
from fairseq.tasks import register_task
from fairseq.tasks._text_data import folder_of_epoch, load_dictionary_of, load_split
from fairseq.tasks.fairseq_task import LegacyFairseqTask

__all__ = ["LanguageModelingConfig", "LanguageModelingTask"]

SAMPLE_BREAK_MODE_CHOICES = ChoiceEnum(["none", "complete", "complete_doc", "eos"])
SHORTEN_METHOD_CHOICES = ChoiceEnum(["none", "truncate", "random_crop"])

logger = logging.getLogger(__name__)


@dataclass
class LanguageModelingConfig(FairseqDataclass):
    data: Optional[str] = option(None, "folders of binarised data, separated by colons; epochs take turns")
    sample_break_mode: SAMPLE_BREAK_MODE_CHOICES = option(  # type: ignore[valid-type]
        "none",
        "where a sample ends: none: after --tokens-per-sample tokens; complete: after the last sentence that fits; "
        "complete_doc: the same, and at the end of a document; eos: after every sentence",
    )
    tokens_per_sample: int = option(1024, "tokens of a sample at most")
    output_dictionary_size: int = option(-1, "predict only the first so many words, others as unknown; -1 for all")
    self_target: bool = option(False, "predict the token itself")
    future_target: bool = option(False, "predict the next token (the default)")
    past_target: bool = option(False, "predict the previous token")
    add_bos_token: bool = option(False, "begin samples with the beginning-of-sentence token")
    max_target_positions: Optional[int] = option(None, "longest sample, in tokens")
    shorten_method: SHORTEN_METHOD_CHOICES = option(  # type: ignore[valid-type]
        "none", "what to do with sentences longer than --tokens-per-sample"
    )
    shorten_data_split_list: str = option("", "splits to shorten, separated by commas; empty for all")
    pad_to_fixed_length: Optional[bool] = option(False, "pad all batches to --tokens-per-sample")
    pad_to_fixed_bsz: Optional[bool] = option(False, "pad all batches to the same number of rows")

    seed: int = II("common.seed")
    batch_size: Optional[int] = II("dataset.batch_size")
    batch_size_valid: Optional[int] = II("dataset.batch_size_valid")
    dataset_impl: Optional[ChoiceEnum(get_available_dataset_impl())] = II("dataset.dataset_impl")  # type: ignore[valid-type]
    data_buffer_size: int = II("dataset.data_buffer_size")
    tpu: bool = II("common.tpu")
    use_plasma_view: bool = II("common.use_plasma_view")
    plasma_path: str = II("common.plasma_path")


def chosen_targets(args: Any) -> list[str]:
    """The targets that the options name, ``future`` without any."""
    # Models of old checkpoints could exclude the token itself.
    if getattr(args, "exclude_self_target", False):
        args.self_target = False
    named = [name for name in ("self", "future", "past") if getattr(args, f"{name}_target", False)]
    return named or ["future"]


def sentences_for_inference(dictionary: Any, first_token: int, src_tokens: Any, src_lengths: Any) -> Any:
    """Typed text as a data set: ``first_token`` takes the place of the end of sentence; targets end with padding."""
    sentences = StripTokenDataset(
        TokenBlockDataset(
            src_tokens, src_lengths, block_size=None, pad=dictionary.pad(), eos=dictionary.eos(), break_mode="eos"
        ),
        dictionary.eos(),
    )
    source = PrependTokenDataset(sentences, token=first_token)
    target = AppendTokenDataset(sentences, token=dictionary.pad())
    return NestedDictionaryDataset(
        {
            "id": IdDataset(),
            "net_input": {
                "src_tokens": PadDataset(source, pad_idx=dictionary.pad(), left_pad=False),
                "src_lengths": NumelDataset(source, reduce=False),
            },
            "target": PadDataset(target, pad_idx=dictionary.pad(), left_pad=False),
        },
        sizes=[np.array(src_lengths)],
    )


def continue_prefix(
    generator: Any, models: Any, sample: Any, prefix_tokens: Any, constraints: Any, bos_token: int
) -> Any:
    """Generate a continuation of the sample's text."""
    if constraints is not None:
        raise NotImplementedError("language models generate without lexical constraints; leave out --constraints")
    with torch.no_grad():
        source = sample["net_input"]["src_tokens"]
        # The generator does not read the source of a language model, only the prefix.
        if prefix_tokens is None and source.nelement():
            prefix_tokens = source[:, 1:] if bool(source[:, 0].eq(bos_token).all()) else source
        return generator.generate(models, sample, prefix_tokens=prefix_tokens, bos_token=bos_token)


@register_task("language_modeling", dataclass=LanguageModelingConfig)
class LanguageModelingTask(LegacyFairseqTask):
    """A language model over one dictionary.

    Attributes:
        dictionary: of the input; output_dictionary: of the output, possibly a part of it.
        targets: what to predict, of ``self``, ``future``, ``past``.
    """

    def __init__(
        self, args: Any, dictionary: Any, output_dictionary: Any = None, targets: Optional[Sequence[str]] = None
    ) -> None:
        super().__init__(args)
        self.dictionary = dictionary
        self.output_dictionary = output_dictionary or dictionary
        self.targets = targets if targets is not None else ["future"]

    @classmethod
    def setup_dictionary(cls, args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Dictionaries of input and output; ``(None, None)`` without a data folder."""
        if not args.data:
            return None, None
        dictionary = load_dictionary_of(cls, args.data)
        logger.info("dictionary: %s types", len(dictionary))
        output: Any = dictionary
        if args.output_dictionary_size >= 0:
            output = TruncatedDictionary(dictionary, args.output_dictionary_size)
        return dictionary, output

    @classmethod
    def setup_task(cls, args: Any, **kwargs: Any) -> "LanguageModelingTask":  # type: ignore[override]
        dictionary, output_dictionary = cls.setup_dictionary(args, **kwargs)
        return cls(args, dictionary, output_dictionary, targets=chosen_targets(args))

    def build_model(self, args: Any, from_checkpoint: bool = False) -> Any:
        """Build the model.

        Raises:
            ValueError: it cannot predict what is asked for.
        """
        model = super().build_model(args, from_checkpoint)
        if not hasattr(model, "supported_targets"):
            raise ValueError(
                f"--arch {getattr(args, 'arch', None) or getattr(args, '_name', '')}: {type(model).__name__} is no "
                "language model; choose one such as transformer_lm"
            )
        for target in self.targets:
            if target not in model.supported_targets:
                raise ValueError(f"Unsupported language modeling target: {target}")
        return model

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> MonolingualDataset:  # type: ignore[override]
        args = self.args
        sentences, path = load_split(
            folder_of_epoch(args.data, epoch), split, self.dictionary, args.dataset_impl, combine
        )
        sentences = maybe_shorten_dataset(
            sentences, split, args.shorten_data_split_list, args.shorten_method, args.tokens_per_sample, args.seed
        )
        blocks = TokenBlockDataset(
            sentences,
            sentences.sizes,
            args.tokens_per_sample,
            pad=self.dictionary.pad(),
            eos=self.dictionary.eos(),
            break_mode=args.sample_break_mode,
            include_targets=True,
            use_plasma_view=args.use_plasma_view,
            split_path=path,
            plasma_path=args.plasma_path,
        )
        rows = (args.batch_size_valid if "valid" in split else args.batch_size) if args.pad_to_fixed_bsz else None
        self.datasets[split] = MonolingualDataset(
            blocks,
            blocks.sizes,
            self.dictionary,
            self.output_dictionary,
            add_eos_for_other_targets=args.sample_break_mode is not None and args.sample_break_mode != "none",
            shuffle=True,
            targets=self.targets,
            add_bos_token=args.add_bos_token,
            fixed_pad_length=args.tokens_per_sample if args.pad_to_fixed_length else None,
            pad_to_bsz=rows,
        )
        return self.datasets[split]

    def _first_token(self) -> int:
        """What text begins with: the end of the sentence before, or the beginning of this one."""
        return self.dictionary.bos() if getattr(self.args, "add_bos_token", False) else self.dictionary.eos()

    def build_dataset_for_inference(
        self, src_tokens: Sequence[torch.Tensor], src_lengths: Sequence[int], **kwargs: Any
    ) -> Any:
        """Typed beginnings of text; the end of sentence moves to the front, and targets end with padding."""
        return sentences_for_inference(self.source_dictionary, self._first_token(), src_tokens, src_lengths)

    def inference_step(
        self, generator: Any, models: Sequence[Any], sample: Any, prefix_tokens: Any = None, constraints: Any = None
    ) -> Any:
        """Generate continuations of ``sample``'s text."""
        return continue_prefix(generator, models, sample, prefix_tokens, constraints, self._first_token())

    def eval_lm_dataloader(
        self, dataset: Any, max_tokens: Optional[int] = 36000, batch_size: Optional[int] = None,
        max_positions: Optional[int] = None, num_shards: int = 1, shard_id: int = 0, num_workers: int = 1,
        data_buffer_size: int = 10, context_window: int = 0,
    ) -> Any:  # fmt: skip
        """Batches for scoring; with ``context_window`` > 0 rows are preceded by the end of the row before."""
        if context_window > 0:
            dataset = LMContextWindowDataset(
                dataset,
                tokens_per_sample=self.args.tokens_per_sample,
                context_window=context_window,
                pad_idx=self.source_dictionary.pad(),
            )
            # Context is carried from batch to batch, so one process has to make them all.
            num_workers = min(num_workers, 1)
        return self.get_batch_iterator(
            data_buffer_size=data_buffer_size,
            dataset=dataset,
            ignore_invalid_inputs=True,
            max_positions=max_positions,
            max_sentences=batch_size,
            max_tokens=max_tokens,
            num_shards=num_shards,
            num_workers=num_workers,
            shard_id=shard_id,
        ).next_epoch_itr(shuffle=False)

    @property
    def source_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def target_dictionary(self) -> Any:
        return self.output_dictionary
