"""The data configuration of speech tasks: a YAML file beside the data."""

import logging
from copy import deepcopy
from pathlib import Path
from typing import Any, Optional

__all__ = ["S2TDataConfig", "get_config_from_yaml"]

logger = logging.getLogger(__name__)


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

    def _absolute(self, value: Any) -> Any:
        """Paths that exist only beside the configuration, spelt out; dictionaries entry by entry."""
        if isinstance(value, str):
            beside = self.root / value
            return beside.as_posix() if not Path(value).exists() and beside.exists() else value
        if isinstance(value, dict):
            return {key: self._absolute(entry) for key, entry in value.items()}
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
        return self._absolute(self.config.get("pre_tokenizer", {"tokenizer": None}))

    @property
    def bpe_tokenizer(self) -> dict[str, Any]:
        """Options of the subword encoder."""
        return self._absolute(self.config.get("bpe_tokenizer", {"bpe": None}))

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
        """Whether waveforms get mean 0 and variance 1."""
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
        """Folder that audio paths are relative to."""
        return self._absolute(self.config.get("audio_root", ""))

    @property
    def global_cmvn_stats_npz(self) -> Optional[str]:
        """File of global means and deviations."""
        return self._absolute(self.config.get("global_cmvn", {}).get("stats_npz_path", None))

    @property
    def vocoder(self) -> dict[str, Any]:
        """Options of the vocoder."""
        return self.config.get("vocoder", {"type": "griffin_lim"})

    @property
    def hub(self) -> dict[str, Any]:
        """Options for use through a model hub."""
        return self.config.get("hub", {})

    def get_transforms(self, transform_type: str, split: str, is_train: bool) -> Any:
        """Names of transforms for a split: its own, those of ``_train`` or ``_eval``, or those of ``*``.

        Args:
            transform_type: prefix of the section, e.g. ``feature_``.
        """
        sections = self.config.get(f"{transform_type}transforms", {})
        for key in (split, "_train" if is_train else "_eval", "*"):
            if sections.get(key) is not None:
                return sections[key]
        return None

    def _with_transforms(self, kind: str, names: Any) -> dict[str, Any]:
        config = deepcopy(self.config)
        config[f"{kind}_transforms"] = names
        return config

    def get_feature_transforms(self, split: str, is_train: bool) -> dict[str, Any]:
        """The configuration with the split's ``feature_transforms``; the section may also be called ``transforms``."""
        names = self.get_transforms("", split, is_train)
        if names is None:
            names = self.get_transforms("feature_", split, is_train)
        config = self._with_transforms("feature", names)
        if "global_cmvn" in config:
            config["global_cmvn"] = self._absolute(config["global_cmvn"])
        return config

    def get_waveform_transforms(self, split: str, is_train: bool) -> dict[str, Any]:
        """The configuration with the split's ``waveform_transforms``."""
        return self._with_transforms("waveform", self.get_transforms("waveform_", split, is_train))

    def get_dataset_transforms(self, split: str, is_train: bool) -> dict[str, Any]:
        """The configuration with the split's ``dataset_transforms``."""
        return self._with_transforms("dataset", self.get_transforms("dataset_", split, is_train))
