"""The YAML file of ``--quantization-config-path``: which layers are quantised, with what block sizes and centroids."""

from typing import Any, Dict, List, Tuple

__all__ = ["convert_yaml_to_tuple", "parse_config_yaml"]


def parse_config_yaml(yaml_data: Dict[str, Any]) -> Dict[str, Any]:
    """Fill in what the file leaves open.

    Returns:
        ``layers_to_quantize``, a list of regular expressions, one per step; ``block_sizes_config`` and
        ``n_centroids_config``: kind of layer -> ``(attribute, {value: setting})``, attribute ``*`` for all alike.

    Raises:
        ValueError: the file holds something else.
    """
    if not isinstance(yaml_data, dict):
        raise ValueError(f"--quantization-config-path: keys with values are expected, not {yaml_data!r:.100}")
    options: Dict[str, Any] = {
        "n_centroids": {
            "Embedding": ["embedding_dim", {"*": 256}],
            "Linear": ["in_features", {"*": 256}],
        },
        "block_sizes": {
            "Embedding": ["fuzzy_name", {"emb": 8}],
            "Linear": ["fuzzy_name", {"fc": 8, "attn": 4, "emb": 4}],
        },
        "layers_to_quantize": [
            "decoder\\.layers\\.\\d+\\.fc[12]",
            "decoder\\.embed_tokens\\.embeddings\\.[012]\\.[01]",
            "decoder\\.layers\\.\\d+\\.self_attn\\.(k_proj|v_proj|q_proj|out_proj)",
        ],
    }
    result = {
        "n_centroids_config": convert_yaml_to_tuple(yaml_data.get("n_centroids") or options["n_centroids"]),
        "block_sizes_config": convert_yaml_to_tuple(yaml_data.get("block_sizes") or options["block_sizes"]),
        "layers_to_quantize": yaml_data.get("layers_to_quantize") or options["layers_to_quantize"],
    }
    layers = result["layers_to_quantize"]
    if not isinstance(layers, list) or not all(isinstance(layer, str) for layer in layers):
        raise ValueError(f"layers_to_quantize: a list of regular expressions is expected, not {layers!r:.100}")
    return result


def convert_yaml_to_tuple(yaml_dictionary: Dict[str, List[Any]]) -> Dict[str, Tuple[Any, Any]]:
    """``{kind: [attribute, settings]}`` or ``{kind: {"key": attribute, "value": settings}}`` -> ``{kind: (a, s)}``.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(yaml_dictionary, dict):
        raise ValueError(f"kinds of layers are expected, not {yaml_dictionary!r:.100}")
    converted = {}
    for kind, entry in yaml_dictionary.items():
        pair = [entry.get("key"), entry.get("value")] if isinstance(entry, dict) else entry
        if not isinstance(pair, (list, tuple)) or len(pair) < 2 or not _are_settings(*pair[:2]):
            raise ValueError(f"{kind}: an attribute (key) and its settings (value) are expected, not {entry!r:.100}")
        converted[kind] = (pair[0], pair[1])
    return converted


def _are_settings(attribute: Any, settings: Any) -> bool:
    # One number for all layers of the kind, or one for each value of an attribute.
    return isinstance(settings, dict) or (attribute == "*" and isinstance(settings, int))
