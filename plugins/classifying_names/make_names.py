"""Write the list of names in ``names/``: family names put together from parts that are typical of each language.

    python plugins/classifying_names/make_names.py

Made up by combination, so some of them do not exist. Deterministic; the splits are disjoint.
"""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path

__all__ = ["LANGUAGES", "make_splits", "write"]

# language -> beginnings, endings
LANGUAGES: dict[str, tuple[list[str], list[str]]] = {
    "finnish": (
        ["Mäki", "Järvi", "Lahti", "Koski", "Niemi", "Salmi", "Kivi", "Laakso", "Harju", "Saari", "Vuori", "Lampi"],
        ["nen", "lä", "salo", "ranta", "aho", "oja", "maa", "vaara", "pelto", "lainen"],
    ),
    "german": (
        ["Schwarz", "Klein", "Stein", "Gross", "Hof", "Berg", "Wald", "Rosen", "Linden", "Eichen", "Brunn", "Kirch"],
        ["mann", "müller", "bauer", "meier", "bach", "schmidt", "hardt", "feld", "burger", "inger"],
    ),
    "irish": (
        ["O'Bri", "O'Don", "O'Sulli", "O'Con", "O'Rei", "McCar", "McDo", "McGui", "McKen", "McLough", "Galla", "Finne"],
        ["an", "nell", "van", "nor", "lly", "thy", "nagh", "ness", "lin", "gher"],
    ),
    "italian": (
        ["Ross", "Ferr", "Bianc", "Mar", "Gall", "Cont", "Bruna", "Mart", "Barb", "Font", "Mont", "Vent"],
        ["ini", "etti", "elli", "ucci", "ari", "one", "aldi", "essa", "anini", "ieri"],
    ),
    "japanese": (
        ["Yama", "Kawa", "Ishi", "Matsu", "Naka", "Fuji", "Taka", "Mori", "Oka", "Hashi", "Kuro", "Nishi"],
        ["moto", "mura", "saki", "shita", "guchi", "da", "hara", "no", "zawa", "kawa"],
    ),
    "polish": (
        ["Kowal", "Wiśniew", "Lewandow", "Zieliń", "Szymań", "Woźniak", "Kozłow", "Jankow", "Mazurk", "Krawczyń",
         "Piotrow", "Grabow"],
        ["ski", "czyk", "icz", "ski-Nowak", "owicz", "iak", "ewski", "ecki", "szczak", "ik"],
    ),
}  # fmt: skip


def make_splits(seed: int = 1) -> dict[str, list[tuple[str, str]]]:
    """``{"train": [(name, language), ...], "valid": ..., "test": ...}``, 80, 10 and 10 per cent of each language."""
    rng = random.Random(seed)
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "valid": [], "test": []}
    for language, (beginnings, endings) in sorted(LANGUAGES.items()):
        names = sorted({first + last for first, last in product(beginnings, endings)})
        rng.shuffle(names)
        tenth = len(names) // 10
        for split, part in (
            ("valid", names[:tenth]),
            ("test", names[tenth : 2 * tenth]),
            ("train", names[2 * tenth :]),
        ):
            splits[split] += [(name, language) for name in part]
    for rows in splits.values():
        rng.shuffle(rows)
    return splits


def write(folder: Path) -> None:
    """Write ``SPLIT.input`` (letters separated by spaces) and ``SPLIT.label``."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in make_splits().items():
        (folder / f"{split}.input").write_text("".join(" ".join(name) + "\n" for name, _ in rows), encoding="utf-8")
        (folder / f"{split}.label").write_text("".join(language + "\n" for _, language in rows), encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parent / "names")
