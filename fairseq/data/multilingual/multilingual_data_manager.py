"""The data of a translation model between many languages: which files, with which language tokens, in which shares."""

from __future__ import annotations

import json
import logging
import math
import os
from argparse import ArgumentParser
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fairseq import utils
from fairseq.data import data_utils
from fairseq.data.concat_dataset import ConcatDataset
from fairseq.data.dictionary import Dictionary
from fairseq.data.language_pair_dataset import LanguagePairDataset
from fairseq.data.multilingual._pair_options import add_pair_options, literal_dict
from fairseq.data.multilingual.multilingual_utils import LangTokSpec, augment_dictionary, get_lang_tok
from fairseq.data.multilingual.sampled_multi_dataset import CollateFormat, SampledMultiDataset
from fairseq.data.multilingual.sampled_multi_epoch_dataset import SampledMultiEpochDataset
from fairseq.data.prepend_token_dataset import PrependTokenDataset
from fairseq.data.text_files.pair_files import file_prefixes, find_prefix, load_alignments, load_sides
from fairseq.data.transform_eos_lang_pair_dataset import TransformEosLangPairDataset
from fairseq.file_io import PathManager, open_text

__all__ = ["SRC_DICT_NAME", "TGT_DICT_NAME", "MultilingualDatasetManager", "load_sampling_weights"]

logger = logging.getLogger(__name__)

# Keys of dictionaries that all sources, or all targets, share.
SRC_DICT_NAME = "src"
TGT_DICT_NAME = "tgt"
# The pairs that are trained on and evaluated; other kinds of data are for training only.
MAIN = LangTokSpec.main.value
Params = dict[str, Any]
Named = list[tuple[str, Any]]


def load_sampling_weights(from_file: str) -> dict[str, float]:
    """The weights of data sets by their key (``main:de-en``), from a JSON file."""
    with open_text(from_file) as file:
        weights = json.load(file)
    if not isinstance(weights, dict):
        raise ValueError(f'{from_file}: expected an object of weights, such as {{"main:de-en": 0.7}}')
    return weights


class MultilingualDatasetManager:
    """Loads the pairs that the options name.

    Args:
        args: the options of :meth:`add_args`, with ``lang_pairs``, ``dataset_impl``, ``train_subset``, ``seed``.
        lang_pairs: ``["de-en", ...]``.
        langs: all languages, in the order of their numbers.
        dicts: dictionaries by language, or under ``src`` and ``tgt``.
        sampling_method: a ``SamplingMethod``.
    """

    def __init__(
        self, args: Any, lang_pairs: list[str], langs: list[str], dicts: Mapping[str, Any], sampling_method: Any
    ) -> None:
        self.args = args
        self.seed = args.seed
        self.lang_pairs = lang_pairs
        self.extra_lang_pairs = sorted({pair for pairs in _extra_pairs(args).values() for pair in pairs})
        both = [pair.split("-") for pair in (*lang_pairs, *self.extra_lang_pairs)]
        self.src_langs = {src for src, _ in both}
        self.tgt_langs = {tgt for _, tgt in both}
        self.langs = langs
        self.dicts = dicts
        self.lang_dict = self.create_lang_dictionary(langs)
        self.sampling_method = sampling_method
        self.sampling_scheduler: Any = None
        # split -> key -> folders that have the pair
        self._folders: dict[str, dict[str, list[str]]] = {}
        # key -> number of the shard -> samples in it, of those that were loaded
        self._shard_sizes: dict[str, dict[int, int]] = {}

    # ----------------------------------------------------------------------------------------------------- setting up
    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        """Add the options."""
        add_pair_options(parser)

    @classmethod
    def setup_data_manager(
        cls, args: Any, lang_pairs: list[str], langs: list[str], dicts: Mapping[str, Any], sampling_method: Any
    ) -> MultilingualDatasetManager:
        """Make one; the place to choose another class."""
        return cls(args, lang_pairs, langs, dicts, sampling_method)

    @classmethod
    def load_langs(cls, args: Any, **kwargs: Any) -> list[str]:
        """The languages that the options name: a list, a file with one per line, or those of the pairs."""
        if args.lang_dict and args.langs:
            raise ValueError("--langs and --lang-dict can not both be specified")
        if args.lang_dict:
            with open_text(args.lang_dict) as file:
                langs = [line.strip() for line in file if line.strip()]
            logger.info("%s languages from %s", len(langs), args.lang_dict)
            return langs
        return (
            list(args.langs) if args.langs else sorted({lang for pair in args.lang_pairs for lang in pair.split("-")})
        )

    @classmethod
    def prepare(cls, load_dictionary: Callable[[str], Any], args: Any, **kargs: Any) -> tuple[Any, Any, bool]:
        """Complete the options in place, and load the dictionaries.

        Returns:
            ``(languages, dictionaries by language, whether this is training)``; it is no training if a source or a
            target language is named.

        Raises:
            ValueError: no pairs, a pair with an unknown language, or contradicting options.
            FileNotFoundError: a dictionary is missing.
        """
        for side in ("left_pad_source", "left_pad_target"):
            setattr(args, side, utils.eval_bool(getattr(args, side)))
        if not hasattr(args, "shuffle_instance"):
            args.shuffle_instance = False
        if args.langtoks is None:
            args.langtoks = {}
        if MAIN not in args.langtoks:
            args.langtoks[MAIN] = (args.encoder_langtok or None, "tgt" if args.decoder_langtok else None)
        if not args.lang_pairs:
            raise ValueError("--lang-pairs is required: the pairs to train on, such as de-en,fr-en")
        if isinstance(args.lang_pairs, str):
            args.lang_pairs = args.lang_pairs.split(",")
        training = args.source_lang is None and args.target_lang is None
        languages = cls.load_langs(args, **kargs)
        wanted = args.lang_pairs if training else [f"{args.source_lang}-{args.target_lang}"]
        for pair in wanted:
            if not set(pair.split("-")) <= set(languages):
                raise ValueError(
                    f"language pair {pair} contains languages that are not in the language dictionary; "
                    f"langs: {languages}"
                )
        return languages, cls.load_all_dictionaries(args, languages, load_dictionary, training), training

    @classmethod
    def load_all_dictionaries(
        cls, args: Any, language_list: Sequence[str], load_dictionary: Callable[[str], Any], training: bool
    ) -> OrderedDict[str, Any]:
        """The dictionaries, with the language tokens added; sides that share one have it under ``src`` or ``tgt``."""
        pairs = [*args.lang_pairs, *(pair for pairs in _extra_pairs(args).values() for pair in pairs)]
        if not training:
            pairs = [f"{args.source_lang}-{args.target_lang}"]
        sides = (
            (SRC_DICT_NAME, args.source_dict, sorted({pair.split("-")[0] for pair in pairs})),
            (TGT_DICT_NAME, args.target_dict, sorted({pair.split("-")[1] for pair in pairs})),
        )
        fixed = load_dictionary(args.fixed_dictionary) if args.fixed_dictionary else None
        dicts: OrderedDict[str, Any] = OrderedDict()
        for shared, path, languages in sides:
            for name in [shared] if path else languages:
                if name not in dicts:
                    dicts[name] = fixed or load_dictionary(path or _dictionary_path(args.data, name))
        for dictionary in {id(dictionary): dictionary for dictionary in dicts.values()}.values():
            augment_dictionary(
                dictionary, language_list, args.lang_tok_style, args.langtoks_specs, literal_dict(args.extra_data)
            )
        for name, dictionary in dicts.items():
            logger.info("[%s] dictionary: %s types", name, len(dictionary))
        return dicts

    @classmethod
    def create_lang_dictionary(cls, langs: Sequence[str]) -> Dictionary:
        """The numbers of languages, from 1; 0 is for unknown ones."""
        numbers = Dictionary(add_special_symbols=False)
        numbers.unk_index = numbers.add_symbol(numbers.unk_word)
        for lang in langs:
            numbers.add_symbol(lang)
        return numbers

    # ------------------------------------------------------------------------------- dictionaries and language tokens
    def get_source_dictionary(self, lang: str) -> Any:
        return self.dicts[SRC_DICT_NAME if SRC_DICT_NAME in self.dicts else lang]

    def get_target_dictionary(self, lang: str) -> Any:
        return self.dicts[TGT_DICT_NAME if TGT_DICT_NAME in self.dicts else lang]

    @classmethod
    def get_langtok_index(cls, lang_tok: str, dic: Any) -> int:
        """Number of a language token.

        Raises:
            AssertionError: the dictionary has no such token.
        """
        index: int = dic.index(lang_tok)
        if index == dic.unk_index:
            raise AssertionError(f"cannot find language token {lang_tok} in the dictionary")
        return index

    def get_encoder_langtok(self, src_lang: str, tgt_lang: str, spec: str | None = None) -> int | None:
        """The token that sources get, or ``None``.

        Args:
            spec: ``src`` or ``tgt``, the language that it names, and possibly a kind of data: ``src.mono_dae``.
        """
        lang = src_lang if spec and spec.startswith("src") else tgt_lang
        if spec is None or lang is None:
            return None
        token = get_lang_tok(lang=lang, lang_tok_style=self.args.lang_tok_style, spec=spec)
        return self.get_langtok_index(token, self.get_source_dictionary(src_lang if src_lang is not None else tgt_lang))

    def get_decoder_langtok(self, tgt_lang: str, spec: str | None = None) -> int | None:
        """The token that targets get, or ``None``."""
        if spec is None:
            return None
        token = get_lang_tok(lang=tgt_lang, lang_tok_style=self.args.lang_tok_style, spec=spec)
        return self.get_langtok_index(token, self.get_target_dictionary(tgt_lang))

    def src_dataset_tranform_func(self, src_lang: str, tgt_lang: str, dataset: Any, spec: str | None = None) -> Any:
        """Sources with their language token in front, unless it replaces the end of sentence in batches."""
        if self.args.lang_tok_replacing_bos_eos or spec is None:
            return dataset
        return _with_first(dataset, self.get_encoder_langtok(src_lang, tgt_lang, spec))

    def tgt_dataset_tranform_func(
        self, source_lang: str, target_lang: str, dataset: Any, spec: str | None = None
    ) -> Any:
        """Targets with their language token in front, unless it begins the decoder's input instead."""
        if dataset is None or self.args.lang_tok_replacing_bos_eos or not spec:
            return dataset
        return _with_first(dataset, self.get_decoder_langtok(target_lang, spec))

    def alter_dataset_langtok(
        self,
        lang_pair_dataset: Any,
        src_eos: int | None = None,
        src_lang: str | None = None,
        tgt_eos: int | None = None,
        tgt_lang: str | None = None,
        src_langtok_spec: str | None = None,
        tgt_langtok_spec: str | None = None,
    ) -> Any:
        """Pairs whose batches have language tokens where sources end and decoder inputs begin."""
        if src_langtok_spec is None and tgt_langtok_spec is None:
            return lang_pair_dataset
        new_src_eos = new_tgt_bos = None
        if src_langtok_spec is not None and src_eos is not None and (src_lang or tgt_lang) is not None:
            new_src_eos = self.get_encoder_langtok(src_lang, tgt_lang, src_langtok_spec)  # type: ignore[arg-type]
        if tgt_langtok_spec and tgt_eos is not None and tgt_lang is not None:
            new_tgt_bos = self.get_decoder_langtok(tgt_lang, tgt_langtok_spec)
        return TransformEosLangPairDataset(
            lang_pair_dataset,
            src_eos=src_eos if new_src_eos is not None else None,  # type: ignore[arg-type]
            new_src_eos=new_src_eos,
            tgt_bos=tgt_eos if new_tgt_bos is not None else None,
            new_tgt_bos=new_tgt_bos,
        )

    # ---------------------------------------------------------------------------------------------------------- files
    @classmethod
    def get_dataset_key(cls, data_category: str, src: str, tgt: str) -> str:
        return f"{data_category}:{src}-{tgt}"

    @classmethod
    def load_data(cls, path: str, vdict: Any, impl: Any) -> Any:
        return data_utils.load_indexed_dataset(path, vdict, impl)

    @classmethod
    def split_exists(cls, split: str, src: str, tgt: str, lang: str, data_path: str, dataset_impl: Any) -> bool:
        """Whether there is the text of ``lang`` of a pair, with the languages in this order in the file's name."""
        return find_prefix(data_path, split, src, tgt, dataset_impl) == os.path.join(
            data_path, f"{split}.{src}-{tgt}."
        ) and lang in (src, tgt)

    def get_data_paths_and_lang_pairs(self, split: str) -> tuple[dict[str, str], dict[str, list[str]]]:
        """Folders, and pairs, by the kind of data; kinds other than ``main`` have training data only."""
        paths, pairs = {MAIN: self.args.data}, {MAIN: self.lang_pairs}
        if split == getattr(self.args, "train_subset", None):
            extra = literal_dict(self.args.extra_data) or {}
            for kind, more in _extra_pairs(self.args).items():
                if kind not in extra:
                    raise ValueError(f"--extra-lang-pairs has {kind}, but --extra-data names no folder for it")
                paths[kind], pairs[kind] = extra[kind], more
        return paths, pairs

    def _folders_of(self, split: str) -> dict[str, list[str]]:
        """The folders that have each pair of a split; training goes through them, shard by shard."""
        if split not in self._folders:
            found: dict[str, list[str]] = {}
            paths, pairs = self.get_data_paths_and_lang_pairs(split)
            for kind, some in pairs.items():
                folders = utils.split_paths(paths[kind])
                names = {folder: os.listdir(folder) if os.path.isdir(folder) else [] for folder in folders}
                for src, tgt in (pair.split("-") for pair in some):
                    if kind.startswith("mono_") and src != tgt:
                        raise AssertionError(f"error: src={src}, tgt={tgt} for data_category={kind}")
                    prefixes = tuple(file_prefixes(split, src, tgt))
                    having = [folder for folder in folders if any(name.startswith(prefixes) for name in names[folder])]
                    if having:
                        found[self.get_dataset_key(kind, src, tgt)] = having
            self._folders[split] = found
        return self._folders[split]

    def get_split_num_data_shards(self, split: str) -> dict[str, int]:
        """How many folders have each pair, by the pair's key."""
        return {key: len(folders) for key, folders in self._folders_of(split).items()}

    def has_sharded_data(self, split: str) -> bool:
        """Whether training data of some pair are spread over several folders."""
        is_train = split == getattr(self.args, "train_subset", None)
        return is_train and any(number > 1 for number in self.get_split_num_data_shards(split).values())

    @classmethod
    def get_shard_id(cls, num_shards: int, epoch: int, shard_epoch: int | None = None) -> int:
        """The shard that an epoch reads, from 0: they take turns."""
        return ((epoch if shard_epoch is None else shard_epoch) - 1) % num_shards

    def get_split_data_path(self, paths: Sequence[str], epoch: int, shard_epoch: int | None, num_shards: int) -> str:
        return paths[self.get_shard_id(num_shards, epoch, shard_epoch)]

    def get_split_data_param_list(self, split: str, epoch: int, shard_epoch: int | None = None) -> list[Params]:
        """What :meth:`load_a_dataset` is to be told of each pair, and the pair's ``key``.

        Raises:
            FileNotFoundError: no folder has a pair.
        """
        folders = self._folders_of(split)
        paths, pairs = self.get_data_paths_and_lang_pairs(split)
        params: list[Params] = []
        for kind, some in pairs.items():
            for src, tgt in (pair.split("-") for pair in some):
                key = self.get_dataset_key(kind, src, tgt)
                if key not in folders:
                    raise FileNotFoundError(f"Dataset not found: {split} of {key} ({paths[kind]})")
                params.append(
                    {
                        "key": key,
                        "data_path": self.get_split_data_path(folders[key], epoch, shard_epoch, len(folders[key])),
                        "split": split,
                        "src": src,
                        "src_dict": self.get_source_dictionary(src),
                        "tgt": tgt,
                        "tgt_dict": self.get_target_dictionary(tgt),
                        "data_category": kind,
                        "langtok_spec": tuple(self.args.langtoks.get(kind, (None, None))),
                    }
                )
        return params

    def load_lang_dataset(
        self, data_path: str, split: str, src: str, src_dict: Any, tgt: str | None, tgt_dict: Any, combine: bool,
        dataset_impl: Any, upsample_primary: int, max_source_positions: int, prepend_bos: bool = False,
        load_alignments: bool = False, truncate_source: bool = False,
    ) -> tuple[Any, Any, Any]:  # fmt: skip
        """Sources, targets and alignments of a pair, the last two possibly ``None``."""
        longest = max_source_positions if truncate_source else None
        return self._sides(
            data_path, split, src, src_dict, tgt, tgt_dict, combine, dataset_impl, upsample_primary, longest,
            prepend_bos, load_alignments, None,
        )  # fmt: skip

    def _sides(
        self, data_path: str, split: str, src: str, src_dict: Any, tgt: str | None, tgt_dict: Any, combine: bool,
        dataset_impl: Any, upsample_primary: int, max_source_tokens: int | None, prepend_bos: bool,
        with_alignments: bool, opened: dict[str, Any] | None,
    ) -> tuple[Any, Any, Any]:  # fmt: skip
        source, target = load_sides(
            data_path, split, src, src_dict, tgt, tgt_dict, combine, dataset_impl, upsample_primary,
            max_source_tokens, logger, opened,
        )  # fmt: skip
        if prepend_bos:
            source = _with_first(source, src_dict.bos())
            target = _with_first(target, tgt_dict.bos()) if target is not None else None
        aligned = with_alignments and tgt is not None
        return source, target, load_alignments(data_path, split, src, str(tgt), dataset_impl) if aligned else None

    def load_langpair_dataset(
        self, data_path: str, split: str, src: str, src_dict: Any, tgt: str | None, tgt_dict: Any, combine: bool,
        dataset_impl: Any, upsample_primary: int, left_pad_source: bool, left_pad_target: bool,
        max_source_positions: int, max_target_positions: int, prepend_bos: bool = False,
        load_alignments: bool = False, truncate_source: bool = False,
        src_dataset_transform_func: Callable[[Any], Any] = lambda dataset: dataset,
        tgt_dataset_transform_func: Callable[[Any], Any] = lambda dataset: dataset, src_lang_id: int | None = None,
        tgt_lang_id: int | None = None, langpairs_sharing_datasets: dict[str, Any] | None = None,
    ) -> LanguagePairDataset:  # fmt: skip
        """A pair as a :class:`LanguagePairDataset`.

        Args:
            data_path ... truncate_source: as for ``fairseq.tasks.translation.load_langpair_dataset``.
            src_dataset_transform_func, tgt_dataset_transform_func: change the sides before they are paired.
            src_lang_id, tgt_lang_id: numbers of the languages, for the batches.
            langpairs_sharing_datasets: files opened for other pairs, used again and added to.
        """
        longest = max_source_positions if truncate_source else None
        source, target, alignments = self._sides(
            data_path, split, src, src_dict, tgt, tgt_dict, combine, dataset_impl, upsample_primary, longest,
            prepend_bos, load_alignments, langpairs_sharing_datasets,
        )  # fmt: skip
        source, target = src_dataset_transform_func(source), tgt_dataset_transform_func(target)
        return LanguagePairDataset(
            source,
            source.sizes,
            src_dict,
            target,
            target.sizes if target is not None else None,
            tgt_dict,
            left_pad_source=left_pad_source,
            left_pad_target=left_pad_target,
            align_dataset=alignments,
            src_lang_id=src_lang_id,
            tgt_lang_id=tgt_lang_id,
        )

    def load_a_dataset(
        self, split: str, data_path: str, src: str, src_dict: Any, tgt: str, tgt_dict: Any, combine: bool,
        prepend_bos: bool = False, langpairs_sharing_datasets: dict[str, Any] | None = None,
        data_category: str | None = None, **extra_kwargs: Any,
    ) -> Any:  # fmt: skip
        """A pair with its language tokens, as the options say."""
        args = self.args
        src_spec, tgt_spec = extra_kwargs["langtok_spec"]
        logger.info(
            "[%s] %s:%s-%s src_langtok: %s; tgt_langtok: %s", split, data_category, src, tgt, src_spec, tgt_spec
        )
        numbers = {}
        if args.enable_lang_ids:
            numbers = {"src_lang_id": self.lang_dict.index(src), "tgt_lang_id": self.lang_dict.index(tgt)}
        pairs = self.load_langpair_dataset(
            data_path, split, src, src_dict, tgt, tgt_dict, combine, args.dataset_impl, args.upsample_primary,
            args.left_pad_source, args.left_pad_target, args.max_source_positions, args.max_target_positions,
            prepend_bos, args.load_alignments, args.truncate_source,
            lambda dataset: self.src_dataset_tranform_func(src, tgt, dataset, src_spec),
            lambda dataset: self.tgt_dataset_tranform_func(src, tgt, dataset, tgt_spec),
            langpairs_sharing_datasets=langpairs_sharing_datasets, **numbers,
        )  # fmt: skip
        if not args.lang_tok_replacing_bos_eos:
            return pairs
        return self.alter_dataset_langtok(
            pairs, src_eos=src_dict.eos(), src_lang=src, tgt_eos=tgt_dict.eos(), tgt_lang=tgt,
            src_langtok_spec=src_spec, tgt_langtok_spec=tgt_spec,
        )  # fmt: skip

    # ---------------------------------------------------------------------------------------------------------- shares
    def estimate_global_pass_epoch(self, epoch: int) -> int | None:
        """Which round over all samples an epoch belongs to; ``None`` unless epochs and rounds both have a size."""
        if self.args.virtual_epoch_size is None or self.args.virtual_data_size is None:
            return None
        return (epoch - 1) // math.ceil(self.args.virtual_data_size / self.args.virtual_epoch_size) + 1

    def get_train_dataset_sizes(
        self, data_param_list: Sequence[Params], datasets: Named, epoch: int, shard_epoch: int | None = None
    ) -> list[int]:
        """Samples of each pair in all its shards; those not yet seen count as the average of those that were."""
        shards = self.get_split_num_data_shards(data_param_list[0]["split"])
        sizes = []
        for key, dataset in datasets:
            seen = self._shard_sizes.setdefault(key, {})
            seen[self.get_shard_id(shards[key], epoch, shard_epoch)] = len(dataset)
            sizes.append(round(sum(seen.values()) / len(seen) * shards[key]))
        logger.info("estimated total data sizes of all shards: %s", dict(zip((key for key, _ in datasets), sizes)))
        return sizes

    def get_train_sampling_ratios(
        self, data_param_list: Sequence[Params], datasets: Named, epoch: int = 1, shard_epoch: int | None = None
    ) -> Any:
        """The weights that the sampling method gives the pairs; ``None`` if it does not sample."""
        weigh = self.sampling_method.sampling_method_selector()
        if weigh is None:
            return None
        return weigh(self.get_train_dataset_sizes(data_param_list, datasets, epoch, shard_epoch))

    def get_sampling_ratios(
        self, data_param_list: Sequence[Params], datasets: Named, epoch: int, shard_epoch: int | None = None
    ) -> Any:
        """The weights of the pairs: those given as an option or a file, else those of the sampling method.

        Raises:
            ValueError: a pair has no weight.
        """
        flag, weights = "--sampling-weights", literal_dict(self.args.sampling_weights)
        if self.args.sampling_weights_from_file:
            flag = f"--sampling-weights-from-file {self.args.sampling_weights_from_file}"
            weights = load_sampling_weights(self.args.sampling_weights_from_file)
        if not weights:
            return self.get_train_sampling_ratios(data_param_list, datasets, epoch, shard_epoch)
        missing = [key for key, _ in datasets if key not in weights]
        if missing:
            raise ValueError(f"{flag} has no weight for {', '.join(missing)}")
        return [weights[key] for key, _ in datasets]

    # ----------------------------------------------------------------------------------------------------------- splits
    def load_split_langpair_datasets(self, split: str, data_param_list: Sequence[Params]) -> Named:
        """The pairs that :meth:`get_split_data_param_list` described, by key."""
        return self._load_pairs(data_param_list, combine=False)

    def _load_pairs(self, data_param_list: Sequence[Params], combine: bool) -> Named:
        opened: dict[str, Any] | None = {} if self.args.enable_reservsed_directions_shared_datasets else None
        return [
            (params["key"], self.load_a_dataset(combine=combine, langpairs_sharing_datasets=opened, **params))
            for params in data_param_list
        ]

    def load_split_datasets(
        self, split: str, training: bool, epoch: int = 1, combine: bool = False, shard_epoch: int | None = None,
        **kwargs: Any,
    ) -> tuple[Named, list[Params]]:  # fmt: skip
        """The pairs of a split, by key, and what they were loaded with."""
        params = self.get_split_data_param_list(split, epoch, shard_epoch=shard_epoch)
        return self._load_pairs(params, combine), params

    def load_into_concat_dataset(self, split: str, datasets: Named, data_param_list: Sequence[Params]) -> Any:
        """All pairs, one behind the other."""
        if self.args.lang_tok_replacing_bos_eos:
            # Each pair makes its own batches; they are made by its data set and joined.
            return SampledMultiDataset(
                OrderedDict(datasets), sampling_ratios=None, eval_key=None, collate_format=CollateFormat.single,
                virtual_size=None, split=split,
            )  # fmt: skip
        return ConcatDataset([dataset for _, dataset in datasets])

    def _sampled(
        self, kind: Any, options: dict[str, Any], split: str, training: bool, epoch: int, combine: bool,
        shard_epoch: int | None,
    ) -> Any:  # fmt: skip
        datasets, params = self.load_split_datasets(split, training, epoch, combine, shard_epoch=shard_epoch)
        if not training or split != getattr(self.args, "train_subset", None):
            return self.load_into_concat_dataset(split, datasets, params)
        return kind(
            OrderedDict(datasets),
            epoch=epoch,
            sampling_ratios=self.get_sampling_ratios(params, datasets, epoch, shard_epoch),
            eval_key=None,
            collate_format=CollateFormat.single,
            virtual_size=self.args.virtual_data_size,
            split=split,
            # One collater is good for samples of all pairs unless each has tokens of its own to put into batches.
            shared_collater=not self.args.lang_tok_replacing_bos_eos,
            **options,
        )

    def load_sampled_multi_dataset(
        self, split: str, training: bool, epoch: int = 0, combine: bool = False, shard_epoch: int | None = None,
        **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Training data drawn in the wanted shares; of other splits, everything."""
        return self._sampled(SampledMultiDataset, {}, split, training, epoch, combine, shard_epoch)

    def load_sampled_multi_epoch_dataset(
        self, split: str, training: bool, epoch: int = 0, combine: bool = False, shard_epoch: int | None = None,
        **kwargs: Any,
    ) -> Any:  # fmt: skip
        """The same in epochs of ``--virtual-epoch-size``."""
        first = 1 if shard_epoch is None else shard_epoch
        options = {"virtual_epoch_size": self.args.virtual_epoch_size, "shard_epoch": first}
        return self._sampled(SampledMultiEpochDataset, options, split, training, epoch, combine, shard_epoch)

    def load_dataset(
        self, split: str, training: bool, epoch: int = 0, combine: bool = False, shard_epoch: int | None = None,
        **kwargs: Any,
    ) -> Any:  # fmt: skip
        """A split as the options want it."""
        by_size = self.args.virtual_epoch_size is not None
        load = self.load_sampled_multi_epoch_dataset if by_size else self.load_sampled_multi_dataset
        return load(split, training, epoch, combine, shard_epoch, **kwargs)


def _extra_pairs(args: Any) -> dict[str, list[str]]:
    """Pairs of the kinds of data that are for training only."""
    given = literal_dict(args.extra_lang_pairs) or {}
    return {kind: pairs.split(",") if isinstance(pairs, str) else list(pairs) for kind, pairs in given.items()}


def _dictionary_path(data: str, language: str) -> str:
    path = os.path.join(utils.split_paths(data)[0], f"dict.{language}.txt")
    if not PathManager.exists(path):
        raise FileNotFoundError(f"dictionary not found: {path}; fairseq-preprocess writes one per language")
    return path


def _with_first(dataset: Any, token: int | None) -> Any:
    return dataset if token is None else PrependTokenDataset(dataset, token)
