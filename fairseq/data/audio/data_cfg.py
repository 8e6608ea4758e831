"""The data configuration of speech tasks: a YAML file beside the data."""

import logging
from argparse import Namespace
from copy import deepcopy
from pathlib import Path
from typing import Any, Optional, Union

from fairseq.data.dictionary import Dictionary
from fairseq.serialization.trees import measure

__all__ = ["MultitaskConfig", "S2SDataConfig", "S2TDataConfig", "SingleTaskConfig", "get_config_from_yaml"]

logger = logging.getLogger(__name__)

# Aliases of YAML name a part again, so a small file can describe something very large.
_MAX_DEPTH, _MAX_SIZE = 40, 1_000_000
_SECTIONS = ("global_cmvn", "transforms", "feature_transforms", "waveform_transforms", "dataset_transforms")


def get_config_from_yaml(yaml_path: Path) -> dict[str, Any]:
    """The contents of a YAML file.

    Raises:
        ImportError: PyYAML is missing.
        FileNotFoundError: there is no such file.
        ValueError: it is no YAML, or no dictionary.
    """
    try:
        import yaml
    except ImportError as error:
        raise ImportError("Please install PyYAML: pip install PyYAML") from error
    if not yaml_path.is_file():
        raise FileNotFoundError(f"{yaml_path.as_posix()} not found")
    try:
        config = yaml.safe_load(yaml_path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{yaml_path}: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{yaml_path}: expected keys with values, got {type(config).__name__}")
    size = measure(config)
    if size.is_cyclic or size.depth > _MAX_DEPTH or size.size > _MAX_SIZE:
        raise ValueError(f"{yaml_path} refers to itself, or repeats its own parts without end")
    return config


class S2TDataConfig:
    """Settings of a speech data set, with defaults for what the file leaves out.

    Attributes:
        config: the contents of the file.
        root: its folder, to which paths in it are relative.
    """

    def __init__(self, yaml_path: Path) -> None:
        yaml_path = Path(yaml_path)
        self.config = get_config_from_yaml(yaml_path)
        self.root = yaml_path.parent
        for name in _SECTIONS:
            if not isinstance(self.config.get(name, {}), dict):
                raise ValueError(f"{yaml_path}: {name}: expected keys with values, got {self.config[name]!r:.100}")

    def _auto_convert_to_abs_path(self, value: Any) -> Any:
        """Paths that exist only beside the configuration, spelt out; dictionaries entry by entry."""
        if isinstance(value, str):
            beside = self.root / value
            return beside.as_posix() if not Path(value).exists() and beside.exists() else value
        if isinstance(value, dict):
            return {key: self._auto_convert_to_abs_path(entry) for key, entry in value.items()}
        return value

    @property
    def vocab_filename(self) -> Any:
        """Dictionary file, in the data folder."""
        return self.config.get("vocab_filename", "dict.txt")

    @property
    def speaker_set_filename(self) -> Any:
        """File of speaker names, one per line, in the data folder."""
        return self.config.get("speaker_set_filename", None)

    @property
    def shuffle(self) -> bool:
        """Whether to shuffle before batching by length."""
        return self.config.get("shuffle", False)

    @property
    def pre_tokenizer(self) -> dict[str, Any]:
        """Options of the tokenizer before the subword encoder."""
        return self._auto_convert_to_abs_path(self.config.get("pre_tokenizer", {"tokenizer": None}))

    @property
    def bpe_tokenizer(self) -> dict[str, Any]:
        """Options of the subword encoder."""
        return self._auto_convert_to_abs_path(self.config.get("bpe_tokenizer", {"bpe": None}))

    @property
    def prepend_bos_and_append_tgt_lang_tag(self) -> bool:
        """Begin targets with the beginning of sentence and end them with their language token."""
        return self.config.get("prepend_bos_and_append_tgt_lang_tag", False)

    @property
    def input_feat_per_channel(self) -> int:
        """Features per frame and channel."""
        return self.config.get("input_feat_per_channel", 80)

    @property
    def input_channels(self) -> int:
        """Channels of the input."""
        return self.config.get("input_channels", 1)

    @property
    def sample_rate(self) -> int:
        """Sample rate of the audio, in Hz."""
        return self.config.get("sample_rate", 16_000)

    @property
    def sampling_alpha(self) -> float:
        """Exponent of the sizes of corpora when they are sampled; 1 takes them as they are."""
        return self.config.get("sampling_alpha", 1.0)

    @property
    def use_audio_input(self) -> bool:
        """Give the model waveforms, not features."""
        return self.config.get("use_audio_input", False)

    def standardize_audio(self) -> bool:
        """The key of the same name. Data sets do not ask: waveforms always get mean 0 and variance 1."""
        return self.use_audio_input and self.config.get("standardize_audio", False)

    @property
    def use_sample_rate(self) -> int:
        """Sample rate of the waveforms given to the model, in Hz."""
        return self.config.get("use_sample_rate", 16000)

    @property
    def prepend_tgt_lang_tag(self) -> bool:
        """Begin targets with their language token."""
        return self.config.get("prepend_tgt_lang_tag", False)

    @property
    def audio_root(self) -> str:
        """Folder that audio paths are relative to; as written, a relative one starts at the working directory."""
        return self.config.get("audio_root", "")

    @property
    def global_cmvn_stats_npz(self) -> Optional[str]:
        """File of global means and deviations."""
        return self._auto_convert_to_abs_path((self.config.get("global_cmvn") or {}).get("stats_npz_path", None))

    @property
    def vocoder(self) -> dict[str, Any]:
        """Options of the vocoder."""
        return self._auto_convert_to_abs_path(self.config.get("vocoder", {"type": "griffin_lim"}))

    @property
    def hub(self) -> dict[str, Any]:
        """Options for use through a model hub."""
        return self.config.get("hub", {})

    def get_transforms(self, transform_type: str, split: str, is_train: bool) -> Any:
        """Names of transforms for a split: its own, those of ``_train`` or ``_eval``, or those of ``*``.

        Args:
            transform_type: prefix of the section, e.g. ``feature_``.
        """
        sections = self.config.get(f"{transform_type}transforms") or {}
        for key in (split, "_train" if is_train else "_eval", "*"):
            if sections.get(key) is not None:
                return sections[key]
        return None

    def _with_transforms(self, kind: str, names: Any) -> dict[str, Any]:
        config = deepcopy(self.config)
        config[f"{kind}_transforms"] = names
        return config

    def get_feature_transforms(self, split: str, is_train: bool) -> dict[str, Any]:
        """The configuration with the split's ``feature_transforms``.

        The section was called ``transforms`` once. What the split has there comes first, then what it has in
        ``feature_transforms``.
        """
        lists = [self.get_transforms(section, split, is_train) for section in ("", "feature_")]
        if lists[0]:
            logger.warning("the section transforms of the data configuration is now called feature_transforms")
        given = [names for names in lists if names is not None]
        names = [name for names in given for name in names] if given else None
        config = self._with_transforms("feature", names)
        if "global_cmvn" in config:
            config["global_cmvn"] = self._auto_convert_to_abs_path(config["global_cmvn"])
        return config

    def get_waveform_transforms(self, split: str, is_train: bool) -> dict[str, Any]:
        """The configuration with the split's ``waveform_transforms``."""
        return self._with_transforms("waveform", self.get_transforms("waveform_", split, is_train))

    def get_dataset_transforms(self, split: str, is_train: bool) -> dict[str, Any]:
        """The configuration with the split's ``dataset_transforms``."""
        return self._with_transforms("dataset", self.get_transforms("dataset_", split, is_train))


class S2SDataConfig(S2TDataConfig):
    """Settings of a speech-to-speech data set: there is text only where the file names a dictionary for it."""

    @property
    def vocab_filename(self) -> Optional[str]:
        """Dictionary file, in the data folder."""
        return self.config.get("vocab_filename", None)

    @property
    def pre_tokenizer(self) -> None:  # type: ignore[override]
        """Targets are units or features, which no tokenizer reads."""
        return None

    @property
    def bpe_tokenizer(self) -> None:  # type: ignore[override]
        """Targets are units or features, which no subword encoder reads."""
        return None

    @property
    def input_transformed_channels(self) -> int:
        """Channels that the model sees: ``delta_deltas`` among the ``_train`` transforms makes three of one."""
        sections = [self.config.get(name) or {} for name in ("transforms", "feature_transforms")]
        names = [name for section in sections for name in section.get("_train") or []]
        return 3 * self.input_channels if "delta_deltas" in names else self.input_channels

    @property
    def output_sample_rate(self) -> int:
        """Sample rate of the speech that is generated, in Hz."""
        return self.config.get("output_sample_rate", 22050)

    @property
    def target_speaker_embed(self) -> Optional[str]:
        """Folder of ``SPLIT.tsv`` files with a speaker embedding per sample."""
        return self.config.get("target_speaker_embed", None)

    @property
    def prepend_tgt_lang_tag_as_bos(self) -> bool:
        """Let the target's language token be the first input of the decoder."""
        return self.config.get("prepend_tgt_lang_tag_as_bos", False)


class MultitaskConfig:
    """Auxiliary tasks of a speech model, one section of a YAML file each.

    Attributes:
        config: name -> :class:`SingleTaskConfig`, in the order of the file.

    Raises:
        FileNotFoundError, ValueError: see :func:`get_config_from_yaml` and :class:`SingleTaskConfig`.
        ValueError: a first-pass decoder of another type than ``transformer``.
    """

    def __init__(self, yaml_path: Union[str, Path]) -> None:
        sections = get_config_from_yaml(Path(yaml_path))
        self.config = {name: SingleTaskConfig(name, section) for name, section in sections.items()}
        for name, task in self.config.items():
            if task.is_first_pass_decoder and task.decoder_type != "transformer":
                raise ValueError(
                    f"{yaml_path}: {name} has is_first_pass_decoder and decoder_type {task.decoder_type}; "
                    "a first-pass decoder is of type transformer"
                )

    def get_all_tasks(self) -> dict[str, "SingleTaskConfig"]:
        """All of them, by name."""
        return self.config

    def get_single_task(self, name: str) -> "SingleTaskConfig":
        """The one called ``name``; ``AssertionError`` if there is none."""
        if name not in self.config:
            raise AssertionError(f"there is no auxiliary task {name}; there are: {', '.join(self.config) or 'none'}")
        return self.config[name]

    @property
    def first_pass_decoder_task_index(self) -> int:
        """Number of the task that decodes first.

        The last with ``is_first_pass_decoder``; otherwise the last transformer whose name begins with ``target``; -1
        if there is none.
        """
        tasks = list(enumerate(self.config.items()))
        marked = [number for number, (_, task) in tasks if task.is_first_pass_decoder]
        targets = [n for n, (name, task) in tasks if name.startswith("target") and task.decoder_type == "transformer"]
        return (marked or targets or [-1])[-1]


class SingleTaskConfig:
    """Settings of one auxiliary task.

    Attributes:
        tgt_dict: its dictionary; ``None`` if the file that ``dict`` names does not exist.

    Raises:
        FileNotFoundError: the section has no ``dict``.
        ValueError: the section holds no keys with values.
    """

    def __init__(self, name: str, config: dict[str, Any]) -> None:
        if not isinstance(config, dict):
            raise ValueError(f"auxiliary task {name}: expected keys with values, got {config!r}")
        self.task_name = name
        self.config = config
        path = config.get("dict", "")
        if not path:
            raise FileNotFoundError(f"auxiliary task {name}: give the dictionary file of its targets as dict")
        self.tgt_dict = Dictionary.load(path) if Path(path).exists() else None

    @property
    def data(self) -> str:
        """Folder of its ``SPLIT.tsv`` files."""
        return self.config.get("data", "")

    @property
    def decoder_type(self) -> str:
        """``transformer`` or ``ctc``."""
        return self.config.get("decoder_type", "transformer")

    @property
    def decoder_args(self) -> Namespace:
        """Options of its decoder."""
        return Namespace(**(self.config.get("decoder_args") or {}))

    @property
    def criterion_cfg(self) -> Any:
        """Config of its loss: ``ctc``, or cross entropy with label smoothing (0.2 if the section is silent)."""
        # Losses stand above data in the order of imports; they are loaded when a task asks for one.
        if self.decoder_type == "ctc":
            from fairseq.criterions.ctc import CtcCriterionConfig

            return CtcCriterionConfig(zero_infinity=self.config.get("zero_infinity", True))
        from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterionConfig

        return LabelSmoothedCrossEntropyCriterionConfig(label_smoothing=self.config.get("label_smoothing", 0.2))

    @property
    def input_from(self) -> str:
        """Whose states it reads: ``decoder`` if the section has ``decoder_layer``, otherwise ``encoder``."""
        return "decoder" if "decoder_layer" in self.config else "encoder"

    @property
    def input_layer(self) -> int:
        """Number of the layer whose states it reads, from 0 (the file counts from 1); -1 for the last."""
        return self.config.get(f"{self.input_from}_layer", 0) - 1

    @property
    def loss_weight_schedule(self) -> str:
        """``decay`` if there are ``loss_weight_max`` and ``loss_weight_decay_steps``, otherwise ``fixed``."""
        decays = "loss_weight_max" in self.config and self.config.get("loss_weight_decay_steps", 0) > 0
        return "decay" if decays else "fixed"

    @property
    def prepend_bos_and_append_tgt_lang_tag(self) -> bool:
        """Begin targets with the beginning of sentence and end them with their language token."""
        return self.config.get("prepend_bos_and_append_tgt_lang_tag", False)

    @property
    def eos_token(self) -> str:
        """The token that ends its targets when they are generated."""
        return self.config.get("eos_token", "<eos>")

    @property
    def rdrop_alpha(self) -> float:
        """Weight of the difference between two passes with dropout (R-Drop); 0 for one pass."""
        return self.config.get("rdrop_alpha", 0.0)

    @property
    def is_first_pass_decoder(self) -> bool:
        """Whether its decoder is the first of two passes."""
        return bool(self.config.get("is_first_pass_decoder", False))

    @property
    def get_lang_tag_mapping(self) -> dict[str, str]:
        """Language token -> the token that its dictionary has instead."""
        return self.config.get("lang_tag_mapping", {})

    def get_loss_weight(self, num_updates: int) -> float:
        """Weight of its loss: ``loss_weight``, or falling in a straight line from its maximum to its minimum."""
        if self.loss_weight_schedule == "fixed":
            return self.config.get("loss_weight", 1.0)
        highest, lowest = self.config["loss_weight_max"], self.config.get("loss_weight_min", 0.0001)
        fall = (highest - lowest) / self.config["loss_weight_decay_steps"]
        return max(highest - num_updates * fall, lowest)
