"""The IWSLT'14 German-English talks, from their archive to plain parallel text.

The archive ``de-en.tgz`` holds training text with a few tagged lines (addresses, titles, keywords) and development
and test sets as XML. Members are read one by one and never unpacked by the names they carry.
"""

from __future__ import annotations

import html
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from fairseq_cli.recipes import download

__all__ = ["URL", "extract", "fetch", "segments"]

URL = "https://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz"
TEST_SETS = (
    "IWSLT14.TED.dev2010",
    "IWSLT14.TEDX.dev2012",
    "IWSLT14.TED.tst2010",
    "IWSLT14.TED.tst2011",
    "IWSLT14.TED.tst2012",
)
# Lines with these tags are about a talk, not part of it ...
ABOUT = ("<url>", "<talkid>", "<keywords>")
# ... while these enclose text that is.
ENCLOSING = re.compile(r"</?(?:title|description)>")
SEGMENT = re.compile(r"<seg[^>]*>(.*?)</seg>", re.DOTALL)
VALID_EVERY = 23


def fetch(target: Path, url: str = URL, sha256: str | None = None) -> Path:
    """Download the archive, unless it is there; see ``fairseq_cli.recipes.download`` for how it is checked.

    No checksum was ever published for it, so none is built in: the first download's is recorded beside the archive.

    Raises:
        OSError: the download failed; the message says which file to put where instead.
        ValueError: the file is damaged, or not the one of ``sha256``.
    """
    hint = (
        f". Get the IWSLT'14 archive de-en.tgz by other means and put it at {target}, or say where it is with --archive"
    )
    return download.fetch(target, url, sha256, hint)


def extract(archive: Path, folder: Path) -> dict[str, Path]:
    """Write ``train``, and ``test`` (the five sets in a row), as plain text per language.

    Returns:
        ``{"train.de": path, "train.en": path, "test.de": path, "test.en": path}``.

    Raises:
        ValueError: the file is no such archive, or something is missing in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            members = {Path(member.name).name: member for member in tar.getmembers() if member.isfile()}

            def text(name: str) -> str:
                if name not in members:
                    raise ValueError(f"{archive}: {name} is missing in the archive; is this IWSLT'14 de-en.tgz?")
                file = tar.extractfile(members[name])
                assert file is not None  # only regular files were collected
                return file.read().decode("utf-8")

            return {
                f"{part}.{language}": _write(folder / f"raw.{part}.{language}", lines)
                for language in ("de", "en")
                for part, lines in (
                    ("train", _training_lines(text(f"train.tags.de-en.{language}"))),
                    ("test", (line for name in TEST_SETS for line in segments(text(f"{name}.de-en.{language}.xml")))),
                )
            }
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{archive} is no readable tar archive ({error}); download it again") from None


def _write(path: Path, lines: Iterator[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(line + "\n" for line in lines)
    return path


def _training_lines(text: str) -> Iterator[str]:
    for line in text.split("\n")[: -1 if text.endswith("\n") else None]:
        if not any(tag in line for tag in ABOUT):
            yield ENCLOSING.sub("", line).strip()


def segments(text: str) -> Iterator[str]:
    """The sentences of a test set: what is inside ``<seg>``, with plain apostrophes."""
    for match in SEGMENT.finditer(text):
        yield " ".join(html.unescape(match.group(1)).replace("\u2019", "'").split())
