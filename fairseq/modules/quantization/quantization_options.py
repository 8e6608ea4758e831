"""The YAML file of ``--quantization-config-path``: which layers are quantised, with what block sizes and centroids."""

from typing import Any, Dict, List, Tuple

__all__ = ["convert_yaml_to_tuple", "parse_config_yaml"]


def parse_config_yaml(yaml_data: Dict[str, Any]) -> Dict[str, Any]:
    """Fill in what the file leaves open.

    Returns:
        ``layers_to_quantize``, a list of regular expressions, one per step; ``block_sizes_config`` and
        ``n_centroids_config``: kind of layer -> ``(attribute, {value: setting})``, attribute ``*`` for all alike.
    """
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
    return result


def convert_yaml_to_tuple(yaml_dictionary: Dict[str, List[Any]]) -> Dict[str, Tuple[Any, Any]]:
    """``{kind: [attribute, settings]}`` or ``{kind: {"key": attribute, "value": settings}}`` -> ``{kind: (a, s)}``."""
    converted = {}
    for kind, entry in yaml_dictionary.items():
        if isinstance(entry, dict):
            converted[kind] = (entry["key"], entry["value"])
        else:
            converted[kind] = (entry[0], entry[1])
    return converted
