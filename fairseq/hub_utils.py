"""Use trained models from Python: from a folder, an archive or a published name to ``model.translate("...")``.

``from_pretrained``        checkpoint, task and side files -> models ready to use
``GeneratorHubInterface``  text in, text out
``BPEHubInterface`` ``TokenizerHubInterface``   the text encoders alone
"""

from __future__ import annotations

import copy
import logging
import os
import re
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fairseq.compat.signatures import call_build_generator

__all__ = ["BPEHubInterface", "GeneratorHubInterface", "TokenizerHubInterface", "from_pretrained"]

logger = logging.getLogger(__name__)

DEFAULT_FILE = "model.pt"
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")

# File next to a checkpoint -> option that it answers.
SIDE_FILES = {
    "code": "bpe_codes",
    "bpecodes": "bpe_codes",
    "sentencepiece.bpe.model": "sentencepiece_model",
    "merges.txt": "bpe_merges",
    "vocab.json": "bpe_vocab",
}


def from_pretrained(
    model_name_or_path: str | os.PathLike[str],
    checkpoint_file: str | os.PathLike[str] = "model.pt",
    data_name_or_path: str | os.PathLike[str] = ".",
    archive_map: dict[str, Any] | None = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """Load models.

    Args:
        model_name_or_path: a key of ``archive_map``, a folder, an archive, the URL of one, or ``owner/name`` of a model
            on the Hugging Face hub (extra ``hub``).
        checkpoint_file: a file in it; several joined by ``os.pathsep`` are an ensemble. A repository of the hub that
            has no such file but a single other one with the ending ``.pt`` is loaded from that.
        data_name_or_path: the folder with the dictionaries: relative to the model when it begins with a dot, else an
            archive or folder of its own.
        archive_map: published names -> URL, or a dict of ``path`` and options that go with it.
        kwargs: override what the checkpoint says, by option name. ``generation_args`` is a dict for the ``generation``
            section; ``user_dir`` is imported first; ``is_vocoder`` loads nothing.

    Returns:
        ``args`` (the config), ``task``, ``models`` (a list).

    Raises:
        FileNotFoundError: the model, or its data, is not there.
        OSError: it cannot be fetched.
        ValueError: an archive that is damaged or hostile.
    """
    from fairseq import checkpoint_utils, utils

    model_name_or_path, data_name_or_path = os.fspath(model_name_or_path), os.fspath(data_name_or_path)
    checkpoint_file = os.fspath(checkpoint_file)
    published = (archive_map or {}).get(model_name_or_path)
    if isinstance(published, dict):
        # What is published with the model gives way to what the caller says.
        described = dict(published)
        model_name_or_path = described.pop("path")
        checkpoint_file = described.pop("checkpoint_file", checkpoint_file)
        kwargs = {**described, **kwargs}
    elif published is not None:
        model_name_or_path = published
    folder = _folder(model_name_or_path)
    if data_name_or_path.startswith("."):
        kwargs["data"] = os.path.abspath(os.path.join(folder, data_name_or_path))
    else:
        kwargs["data"] = _folder(data_name_or_path)
    for name, option in SIDE_FILES.items():
        path = os.path.join(folder, name)
        if os.path.exists(path):
            kwargs[option] = path
    if "user_dir" in kwargs:
        utils.import_user_module(Namespace(user_dir=kwargs["user_dir"]))
    if kwargs.pop("is_vocoder", False):
        return {"args": kwargs, "task": None, "models": []}
    generation_args = kwargs.pop("generation_args", None)
    models, cfg, task = checkpoint_utils.load_model_ensemble_and_task(
        [os.path.join(folder, name) for name in _checkpoint_names(folder, checkpoint_file)], arg_overrides=kwargs
    )
    if generation_args:
        _set(cfg.generation, generation_args)
    return {"args": cfg, "task": task, "models": models}


def _checkpoint_names(folder: str, given: str | os.PathLike[str]) -> list[str]:
    names = os.fspath(given).split(os.pathsep)
    if names == [DEFAULT_FILE] and os.path.isdir(folder) and not os.path.exists(os.path.join(folder, DEFAULT_FILE)):
        found = [name for name in os.listdir(folder) if name.endswith(".pt")]
        if len(found) == 1:
            return found
    return names


def _folder(name: str | os.PathLike[str]) -> str:
    from fairseq import checkpoint_utils, file_utils

    name = os.fspath(name)
    path = file_utils.load_archive_file(name)
    if path is not None:
        return path
    if _HUB_ID.fullmatch(name):
        try:
            return checkpoint_utils.fetch_from_hf_hub(name)
        except ImportError as error:
            raise FileNotFoundError(
                f"no folder or archive {name!r}; as a name on the Hugging Face hub: {error}"
            ) from error
    raise FileNotFoundError(f"no model or data {name!r}: neither a folder, an archive, nor a URL that answers")


def _set(section: Any, values: dict[str, Any]) -> None:
    """Set options of a config section, new ones included."""
    from omegaconf import OmegaConf, open_dict

    if not OmegaConf.is_config(section):
        for name, value in values.items():
            setattr(section, name, value)
        return
    with open_dict(section):
        for name, value in values.items():
            section[name] = value


class GeneratorHubInterface(nn.Module):
    """Text in, text out: encode, search, decode.

    Args:
        cfg: the config the models were saved with.
        task: their task.
        models: one or an ensemble; prepared for inference here.
    """

    def __init__(self, cfg: Any, task: Any, models: Sequence[nn.Module]) -> None:
        super().__init__()
        from fairseq import utils
        from fairseq.data import encoders
        from fairseq.utils.devices import leave_out_cudnn_attention

        leave_out_cudnn_attention()  # the models may be moved to a GPU at any time

        self.models = nn.ModuleList(models)
        for model in self.models:
            model.prepare_for_inference_(cfg)  # type: ignore[operator]
        self.task, self.cfg = task, cfg
        self.tokenizer, self.bpe = encoders.build_tokenizer(cfg.tokenizer), encoders.build_bpe(cfg.bpe)
        self.src_dict, self.tgt_dict = task.source_dictionary, task.target_dictionary
        self.align_dict = utils.load_align_dict(cfg.generation.replace_unk)
        self.max_positions = utils.resolve_max_positions(
            self.task.max_positions(),
            *[model.max_positions() for model in self.models],  # type: ignore[operator]
        )
        # Follows .to() and .cuda(), so that there is always something to ask for the device.
        self.register_buffer("_float_tensor", torch.tensor([0], dtype=torch.float))

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        return self._float_tensor.device  # type: ignore[return-value]

    def translate(
        self, sentences: str | list[str], beam: int = 5, verbose: bool = False, **kwargs: Any
    ) -> str | list[str]:
        """The best output of each sentence; as ``sample`` with a wider beam."""
        return self.sample(sentences, beam, verbose, **kwargs)

    def sample(self, sentences: str | list[str], beam: int = 1, verbose: bool = False, **kwargs: Any) -> Any:
        """Generate for one sentence (text in, text out) or a list of them.

        Args:
            kwargs: options of generation, such as ``lenpen`` or ``sampling``.
        """
        if isinstance(sentences, str):
            return self.sample([sentences], beam=beam, verbose=verbose, **kwargs)[0]
        tokenized = [self.encode(sentence) for sentence in sentences]
        found = self.generate(tokenized, beam, verbose, **kwargs)
        return [self.decode(hypotheses[0]["tokens"]) for hypotheses in found]

    def score(self, sentences: str | list[str], replace_newline_with_eos: bool = False, **kwargs: Any) -> Any:
        """Score sentences as they are, see ``SequenceScorer``; one hypothesis (text given) or a list of them.

        Raises:
            ValueError: the model has an encoder: a sentence alone is no pair of source and target.
        """
        if any(hasattr(model, "encoder") and hasattr(model, "decoder") for model in self.models):
            raise ValueError(
                "score() is for language models; this model translates, and a sentence alone is no pair. "
                "Score pairs with fairseq-generate --score-reference"
            )
        if isinstance(sentences, str):
            return self.score([sentences], replace_newline_with_eos=replace_newline_with_eos, **kwargs)[0]

        def encode(sentence: str) -> Tensor:
            if replace_newline_with_eos:
                return torch.cat([self.encode(line) for line in sentence.splitlines()])
            return self.encode(sentence)

        tokenized = [encode(sentence) for sentence in sentences]
        return [found[0] for found in self.generate(tokenized, score_reference=True, **kwargs)]

    def generate(
        self,
        tokenized_sentences: Any,
        beam: int = 5,
        verbose: bool = False,
        skip_invalid_size_inputs: bool = False,
        inference_step_args: dict[str, Any] | None = None,
        prefix_allowed_tokens_fn: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generate for token ids.

        Args:
            tokenized_sentences: one 1-D tensor, or a list of them.
            beam: hypotheses per sentence.
            verbose: log sources, hypotheses, scores and alignments.
            skip_invalid_size_inputs: leave out sentences the models cannot take, instead of failing.
            inference_step_args: passed on to ``task.inference_step``.
            prefix_allowed_tokens_fn: see ``search.PrefixConstrainedBeamSearch``.
            kwargs: options of generation.

        Returns:
            the hypotheses of the sentence, or a list of such lists in the order of the input.
        """
        if torch.is_tensor(tokenized_sentences) and tokenized_sentences.dim() == 1:
            return self.generate(
                tokenized_sentences.unsqueeze(0),
                beam=beam,
                verbose=verbose,
                skip_invalid_size_inputs=skip_invalid_size_inputs,
                inference_step_args=inference_step_args,
                prefix_allowed_tokens_fn=prefix_allowed_tokens_fn,
                **kwargs,
            )[0]
        self._refuse_unknown(kwargs)
        options = copy.deepcopy(self.cfg.generation)
        _set(options, {"beam": beam, **kwargs})
        generator = call_build_generator(
            self.task, self.models, options, {}, prefix_allowed_tokens_fn=prefix_allowed_tokens_fn
        )
        found: list[tuple[int, Any]] = []
        from fairseq import utils

        for batch in self._build_batches(tokenized_sentences, skip_invalid_size_inputs):
            batch = utils.apply_to_sample(lambda tensor: tensor.to(self.device), batch)
            hypotheses = self.task.inference_step(generator, self.models, batch, **(inference_step_args or {}))
            found += zip(batch["id"].tolist(), hypotheses)
        found.sort(key=lambda entry: entry[0])
        if verbose:
            for i, hypotheses in found:
                self._log(tokenized_sentences[i], hypotheses, options)
        return [hypotheses for _, hypotheses in found]

    def _refuse_unknown(self, given: dict[str, Any]) -> None:
        """Refuse keywords that are no options of generation; a plug-in's task may have options of its own."""
        from fairseq.dataclass.configs import GenerationConfig
        from fairseq.tasks._noted_options import refuse_unknown
        from fairseq.tasks.fairseq_task import FairseqTask

        saved = self.cfg.generation
        known = {*GenerationConfig.__dataclass_fields__, *(vars(saved) if isinstance(saved, Namespace) else saved)}
        unknown = [name for name in given if name not in known]
        if not unknown:
            return
        if getattr(type(self.task), "build_generator", None) is FairseqTask.build_generator:
            refuse_unknown("generate()", unknown, known - {"_name"}, TypeError)
        logger.warning("%s: no options of generation, passed on to %s", ", ".join(unknown), type(self.task).__name__)

    def _log(self, source: Tensor, hypotheses: list[dict[str, Any]], options: Any) -> None:
        text = self.string(source)
        logger.info("S\t%s", text)
        for hypothesis in hypotheses:
            logger.info("H\t%s\t%s", hypothesis["score"], self.decode(hypothesis["tokens"]))
            logger.info("P\t%s", " ".join(f"{score:.4f}" for score in hypothesis["positional_scores"].tolist()))
            if hypothesis["alignment"] is not None and getattr(options, "print_alignment", False):
                logger.info("A\t%s", " ".join(f"{source}-{target}" for source, target in hypothesis["alignment"]))

    def encode(self, sentence: str) -> Tensor:
        """Text -> token ids, the end mark included; int64."""
        return self.binarize(self.apply_bpe(self.tokenize(sentence)))

    def decode(self, tokens: Tensor) -> str:
        """Token ids -> text."""
        return self.detokenize(self.remove_bpe(self.string(tokens)))

    def tokenize(self, sentence: str) -> str:
        """Separate words and punctuation, if the models were trained so."""
        return self.tokenizer.encode(sentence) if self.tokenizer is not None else sentence

    def detokenize(self, sentence: str) -> str:
        """Undo ``tokenize``."""
        return self.tokenizer.decode(sentence) if self.tokenizer is not None else sentence

    def apply_bpe(self, sentence: str) -> str:
        """Split words into subwords, if the models were trained so."""
        return self.bpe.encode(sentence) if self.bpe is not None else sentence

    def remove_bpe(self, sentence: str) -> str:
        """Undo ``apply_bpe``."""
        return self.bpe.decode(sentence) if self.bpe is not None else sentence

    def binarize(self, sentence: str) -> Tensor:
        """Tokens separated by blanks -> ids; unknown ones become the unknown symbol."""
        return self.src_dict.encode_line(sentence, add_if_not_exist=False).long()

    def string(self, tokens: Tensor) -> str:
        """Ids -> tokens separated by blanks."""
        return self.tgt_dict.string(tokens)

    def _build_batches(self, tokens: Sequence[Tensor], skip_invalid_size_inputs: bool) -> Iterator[dict[str, Any]]:
        lengths = torch.LongTensor([t.numel() for t in tokens])
        dataset = self.task.build_dataset_for_inference(tokens, lengths)
        iterator = self.task.get_batch_iterator(
            dataset=dataset,
            max_tokens=self.cfg.dataset.max_tokens,
            max_sentences=self.cfg.dataset.batch_size,
            max_positions=self.max_positions,
            ignore_invalid_inputs=skip_invalid_size_inputs,
            disable_iterator_cache=True,
        )
        return iterator.next_epoch_itr(shuffle=False)


class BPEHubInterface:
    """A subword encoder alone (``torch.hub.load(..., "bpe", name)``).

    Args:
        bpe: its registered name.
        kwargs: its options.

    Raises:
        ValueError: no such encoder.
    """

    def __init__(self, bpe: str, **kwargs: Any) -> None:
        from fairseq.data import encoders

        self.bpe = encoders.build_bpe(Namespace(bpe=bpe, **kwargs))
        if self.bpe is None:
            raise ValueError(f"no BPE {bpe!r}")

    def encode(self, sentence: str) -> str:
        """Split words into subwords."""
        return self.bpe.encode(sentence)

    def decode(self, sentence: str) -> str:
        """Join subwords."""
        return self.bpe.decode(sentence)


class TokenizerHubInterface:
    """A tokenizer alone (``torch.hub.load(..., "tokenizer", name)``).

    Args:
        tokenizer: its registered name.
        kwargs: its options.

    Raises:
        ValueError: no such tokenizer.
    """

    def __init__(self, tokenizer: str, **kwargs: Any) -> None:
        from fairseq.data import encoders

        self.tokenizer = encoders.build_tokenizer(Namespace(tokenizer=tokenizer, **kwargs))
        if self.tokenizer is None:
            raise ValueError(f"no tokenizer {tokenizer!r}")

    def encode(self, sentence: str) -> str:
        """Separate words and punctuation."""
        return self.tokenizer.encode(sentence)

    def decode(self, sentence: str) -> str:
        """Undo the separation."""
        return self.tokenizer.decode(sentence)
