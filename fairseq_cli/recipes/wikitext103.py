"""``examples/language_model/prepare-wikitext-103.sh``: the WikiText-103 text, in the folder it is called in.

Leaves ``wikitext-103/wiki.{train,valid,test}.tokens``, for ``fairseq-preprocess --only-source``.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from fairseq.compat.suggest import Parser
from fairseq_cli.recipes.download import check_archive, fetch, find_archive

__all__ = ["SHA256", "URL", "main", "unpack"]

# The address in the paper's pages has gone; this one is the author's.
URL = "https://wikitext.smerity.com/wikitext-103-v1.zip"
# As several public collections of data sets record it.
SHA256 = "242ba0f20b329cfdf1ccc61e9e9e5b59becf189db7f7a81cd2a0e2fc31539590"
ARCHIVE = "wikitext-103-v1.zip"
FOLDER = Path("wikitext-103")
NAMES = tuple(f"wiki.{part}.tokens" for part in ("train", "valid", "test"))


def main(argv: Sequence[str]) -> None:
    """Run the script with the words of its command line; all of them are optional."""
    parser = Parser(prog="prepare-wikitext-103.sh", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--archive", type=Path, help=f"the archive (default: {ARCHIVE} here, or fetched)")
    parser.add_argument("--url", default=URL, help="where to fetch it (default: %(default)s)")
    parser.add_argument("--sha256", metavar="HEX", help="refuse an archive with another checksum")
    args = parser.parse_args(argv)
    archive = args.archive or find_archive(ARCHIVE, (Path(),))
    if archive is None:
        hint = f". Put {ARCHIVE} into this folder, or say where it is with --archive"
        archive = fetch(Path(ARCHIVE), args.url, args.sha256 or (SHA256 if args.url == URL else None), hint)
    elif not archive.is_file():
        raise FileNotFoundError(f"--archive {archive}: no such file")
    else:
        # One that the user brought may be packed anew.
        check_archive(archive, args.sha256)
    unpack(archive, FOLDER)
    print(f"ready: {FOLDER}; next: fairseq-preprocess --only-source --trainpref {FOLDER}/{NAMES[0]} ...")


def unpack(archive: Path, folder: Path) -> None:
    """Write the three texts of the archive into a folder, whatever folders the archive names.

    Raises:
        ValueError: one is missing, or the file is no zip archive.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = {os.path.basename(name): name for name in file.namelist()}
            missing = [name for name in NAMES if name not in members]
            if missing:
                raise ValueError(f"{archive}: {missing[0]} is missing in the archive; is this {ARCHIVE}?")
            folder.mkdir(parents=True, exist_ok=True)
            for name in NAMES:
                part = folder / (name + ".part")
                with file.open(members[name]) as source, part.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                os.replace(part, folder / name)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{archive} is no readable zip archive ({error}); get it again") from None
