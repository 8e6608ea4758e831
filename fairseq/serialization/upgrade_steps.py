"""Steps that upgrade what older releases wrote into checkpoints (see ``fairseq.serialization.upgrade``).

Every step works on the whole state dictionary and does nothing to a state that is already current.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from fairseq.serialization.upgrade import State, upgrade

__all__: list[str] = []

_RENAMED_CRITERIA = {"binary_cross_entropy": "wav2vec", "kd_binary_cross_entropy": "wav2vec"}


# ------------------------------------------------------------------------------------------ layout of the dictionary
@upgrade("one optimizer -> optimizer_history")
def _history(state: State) -> None:
    if "optimizer_history" in state:
        return
    state["optimizer_history"] = [
        {"criterion_name": "CrossEntropyCriterion", "best_loss": state.pop("best_loss", None)}
    ]
    state["last_optimizer_state"] = state.pop("optimizer", None)


@upgrade("epoch, batch_offset, val_loss -> extra_state")
def _extra_state(state: State) -> None:
    if "extra_state" in state:
        return
    state["extra_state"] = {key: state.pop(key, None) for key in ("epoch", "batch_offset", "val_loss") if key in state}


@upgrade("optimizer inside the history -> last_optimizer_state")
def _optimizer_in_history(state: State) -> None:
    history = state["optimizer_history"]
    if history and "optimizer" in history[-1]:
        state["last_optimizer_state"] = history[-1]["optimizer"]
        for entry in history:
            entry.pop("optimizer", None)


@upgrade("history: optimizer_name, lr_scheduler_state, num_updates")
def _history_fields(state: State) -> None:
    if not state["optimizer_history"]:
        return
    last = state["optimizer_history"][-1]
    last.setdefault("optimizer_name", "FairseqNAG")
    if "lr_scheduler_state" not in last:
        last["lr_scheduler_state"] = {"best": last.pop("best_loss", None)}
    last.setdefault("num_updates", 0)


@upgrade("epoch, batch_offset -> train_iterator")
def _train_iterator(state: State) -> None:
    extra = state["extra_state"]
    if "train_iterator" not in extra:
        extra["train_iterator"] = {
            "epoch": extra.get("epoch") or 0,
            "iterations_in_epoch": extra.get("batch_offset") or 0,
        }


# --------------------------------------------------------------------------------------------------- flat namespaces
def _args(state: State) -> Namespace | None:
    args = state.get("args")
    return args if isinstance(args, Namespace) else None


@upgrade("args: max_positions -> max_source_positions, max_target_positions")
def _max_positions(state: State) -> None:
    args = _args(state)
    if args is not None and hasattr(args, "max_positions") and not hasattr(args, "max_source_positions"):
        args.max_source_positions = args.max_positions
        args.max_target_positions = args.max_positions


@upgrade("args: task translation when there were no tasks yet")
def _task(state: State) -> None:
    args = _args(state)
    if args is not None and not hasattr(args, "task"):
        args.task = "translation"


@upgrade("args: raw_text, lazy_load -> dataset_impl")
def _dataset_impl(state: State) -> None:
    args = _args(state)
    if args is None:
        return
    if getattr(args, "raw_text", False):
        args.dataset_impl = "raw"
    elif getattr(args, "lazy_load", False):
        args.dataset_impl = "lazy"


@upgrade("epochs count from 1")
def _epochs_from_one(state: State) -> None:
    if _args(state) is not None:
        iterator = state["extra_state"]["train_iterator"]
        if iterator is not None:
            iterator["epoch"] = max(iterator.get("epoch") or 1, 1)


@upgrade("args: remove_bpe -> post_process")
def _post_process(state: State) -> None:
    args = _args(state)
    if args is not None and hasattr(args, "remove_bpe"):
        args.post_process = args.remove_bpe


@upgrade("args: min_lr -> stop_min_lr")
def _stop_min_lr(state: State) -> None:
    args = _args(state)
    if args is not None and hasattr(args, "min_lr"):
        args.stop_min_lr = args.min_lr
        del args.min_lr


@upgrade("args: criteria, tasks and architectures of wav2vec that were renamed")
def _wav2vec_names(state: State) -> None:
    args = _args(state)
    if args is None:
        return
    if getattr(args, "criterion", None) in _RENAMED_CRITERIA:
        args.criterion = _RENAMED_CRITERIA[args.criterion]
    if hasattr(args, "log_keys") and args.log_keys is None:
        del args.log_keys
    if getattr(args, "task", None) == "speech_pretraining":
        args.task = "audio_pretraining"
    if getattr(args, "arch", None) == "audio_cpc":
        args.arch = "wav2vec"


@upgrade("args: one lr -> list, list of data folders -> the first")
def _lists(state: State) -> None:
    args = _args(state)
    if args is None:
        return
    if isinstance(getattr(args, "lr", None), (float, int)):
        args.lr = [float(args.lr)]
    if isinstance(getattr(args, "data", None), (list, tuple)) and args.data:
        args.data = args.data[0]


@upgrade("args -> cfg")
def _config(state: State) -> None:
    args = _args(state)
    if args is not None:
        from fairseq.dataclass.utils import convert_namespace_to_omegaconf

        state["cfg"] = convert_namespace_to_omegaconf(args)


# ------------------------------------------------------------------------------------------------- structured configs
def _section(node: Any, *names: str) -> Any:
    """The nested section, or ``None`` when one is missing or of another kind."""
    for name in names:
        if isinstance(node, Namespace):
            node = getattr(node, name, None)
        elif hasattr(node, "get") and hasattr(node, "keys"):
            node = node.get(name) if name in node else None
        else:
            return None
    return node


@upgrade("cfg: print_alignment true/false -> hard/none")
def _print_alignment(state: State) -> None:
    cfg = state.get("cfg")
    for path, when_false in (
        (("task", "eval_wer_config"), "hard"),
        (("generation",), None),
        (("model", "w2v_args", "task", "eval_wer_config"), "hard"),
        (("model", "w2v_args", "generation"), None),
    ):
        section = _section(cfg, *path)
        value = _section(section, "print_alignment") if section is not None else None
        if isinstance(value, bool):
            _set(section, "print_alignment", "hard" if value else when_false)


# option of transformer_lm -> what the weights of a model that follows it end in
_NORMFORMER = {
    "scale_attn": ".attn_ln.weight",
    "scale_fc": ".ffn_layernorm.weight",
    "scale_heads": ".c_attn",
    "scale_resids": ".w_resid",
}


@upgrade("cfg: options of NormFormer that were accepted without effect")
def _normformer(state: State) -> None:
    section, weights = _section(state.get("cfg"), "model"), state.get("model")
    if section is None or not isinstance(weights, dict):
        return
    for option, ending in _NORMFORMER.items():
        if _section(section, option) is True and not any(str(key).endswith(ending) for key in weights):
            _set(section, option, False)


def _set(section: Any, name: str, value: Any) -> None:
    if isinstance(section, Namespace):
        setattr(section, name, value)
    elif isinstance(section, dict):
        section[name] = value
    else:
        from omegaconf import open_dict

        with open_dict(section):
            section[name] = value
