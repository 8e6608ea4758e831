"""What a checkpoint holds, told from its survey: nothing in the file is run and no tensor is read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from fairseq.serialization import allowed
from fairseq.serialization.archive import read_archive
from fairseq.serialization.errors import CorruptCheckpointError, shown
from fairseq.serialization.keys import Refused
from fairseq.serialization.read import names_torch_knows
from fairseq.serialization.source import Source
from fairseq.serialization.survey import OpaqueGlobal, TensorSpec, survey_source
from fairseq.serialization.write import verify_checksum

__all__ = ["Description", "describe", "flat_config", "verify"]


@dataclass
class Description:
    """A checkpoint in short.

    Attributes:
        facts: label -> value, in the order to show them.
        parameters: ``(name, dtype, shape, number of elements)`` of the model.
        names: class or function that the file mentions -> whether loading accepts it.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    parameters: list[tuple[str, str, tuple[int, ...], int]] = field(default_factory=list)
    names: dict[str, bool] = field(default_factory=dict)


def _as_dict(node: Any) -> dict[str, Any]:
    """A section as a dictionary: plain, a namespace, or an OmegaConf container of old files."""
    if isinstance(node, OpaqueGlobal):
        attributes = node.attributes
        content = attributes.get("_content", attributes if not node else dict(node))
        return content if isinstance(content, dict) else {}
    if isinstance(node, dict):
        return node
    return vars(node) if hasattr(node, "__dict__") else {}


def _value(node: Any) -> Any:
    if isinstance(node, OpaqueGlobal):
        attributes = node.attributes
        if "_val" in attributes:
            return attributes["_val"]
        return node.args[0] if len(node.args) == 1 else f"<{node.path}>"
    return node


def _component(state: dict[str, Any], kind: str) -> Any:
    """The name of the model, task, ... whichever way this release wrote it down."""
    section = _as_dict(state.get("cfg")).get(kind)
    name = _value(_as_dict(section).get("_name")) if not isinstance(section, str) else section
    flat = _as_dict(state.get("args"))
    return name or _value(flat.get("arch" if kind == "model" else kind))


def describe(path: str) -> Description:
    """Describe a checkpoint file.

    Raises:
        FileNotFoundError: no such file.
        CorruptCheckpointError: it is no checkpoint, or damaged.
    """
    with Source(path) as source:
        survey, size = survey_source(source), source.size
    known = names_torch_knows()
    names = {name: name in known or allowed.is_known(name) for name in sorted(survey.names)}
    state = survey.tree if isinstance(survey.tree, dict) else {}
    model = _as_dict(state.get("model")) if "model" in state else state
    parameters = [
        (str(key), spec.dtype, spec.shape, spec.num_elements)
        for key, spec in model.items()
        if isinstance(spec, TensorSpec)
    ]
    history = state.get("optimizer_history") or [{}]
    extra = _as_dict(state.get("extra_state"))
    position = _as_dict(extra.get("train_iterator"))
    last = _as_dict(history[-1]) if isinstance(history, list) else {}
    facts = {
        "file": path,
        "size": f"{size:,} bytes",
        "layout": "zip (torch >= 1.6)" if survey.is_zip else "legacy (before torch 1.6)",
        "options": "cfg" if state.get("cfg") is not None else "args" if state.get("args") is not None else "none",
        "model": _component(state, "model"),
        "task": _component(state, "task"),
        "criterion": last.get("criterion_name"),
        "optimizer": last.get("optimizer_name"),
        "optimizer state": "yes" if state.get("last_optimizer_state") else "no",
        "epoch": position.get("epoch", extra.get("epoch")),
        "updates": last.get("num_updates"),
        "validation": _value(extra.get("val_loss")),
        "best": _value(extra.get("best")),
        "averaged model (EMA)": "yes" if extra.get("ema") else "no",
        "parameters": f"{sum(row[3] for row in parameters):,} in {len(parameters)} tensors",
        "safe to load": "yes" if all(names.values()) else "no",
    }
    return Description(facts, parameters, names)


def verify(path: str) -> str:
    """Read every byte of a file and compare it with the checksums that there are.

    Returns:
        What was compared, in words.

    Raises:
        CorruptCheckpointError: something is not what was written.
    """
    compared = []
    with Source(path) as source:
        try:
            if source.size >= 4 and source.read(0, 4) == b"PK\x03\x04":
                damaged = read_archive(source).damaged()
                if damaged is not None:
                    raise Refused(f"the checksum of {shown(damaged)} inside it is another one")
                compared.append("those inside the file agree")
        except Refused as error:
            raise CorruptCheckpointError(f"{path} is damaged: {error}") from error
        if verify_checksum(path, source.digest):
            compared.append(f"the one in {os.path.basename(path)}.sha256 agrees")
    return "; ".join(compared) or "there are none (a file of this layout has them in a file of its own, NAME.sha256)"


def flat_config(node: Any, prefix: str = "") -> dict[str, Any]:
    """``section.option -> value`` of a config or namespace, however deep."""
    if node is not None and type(node).__module__.startswith("omegaconf"):
        from omegaconf import OmegaConf

        node = OmegaConf.to_container(node)
    if not isinstance(node, dict) and hasattr(node, "__dict__"):
        node = vars(node)
    if not isinstance(node, dict):
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat.update(flat_config(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat
