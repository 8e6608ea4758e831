"""``examples/translation/prepare-iwslt14.sh``: the IWSLT'14 German-English talks, in the folder it is called in.

Leaves ``iwslt14.tokenized.de-en/`` with the text in subwords (``train.de`` ... ``test.en``), the merges (``code``) and
the binarised files, so that the folder can be trained on at once. What ``fairseq-preprocess`` makes of the text in
another folder is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fairseq.compat.suggest import Parser
from fairseq_cli.prepare import command, text_pipeline
from fairseq_cli.prepare import iwslt14 as talks
from fairseq_cli.recipes.download import find_archive
from fairseq_cli.recipes.workers import add_workers

__all__ = ["main"]

FOLDER = "iwslt14.tokenized.de-en"
ARCHIVE = "de-en.tgz"


def main(argv: Sequence[str]) -> None:
    """Run the script with the words of its command line; all of them are optional."""
    parser = Parser(prog="prepare-iwslt14.sh", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--archive", type=Path, help=f"the archive (default: {ARCHIVE} here or in orig/, or fetched)")
    parser.add_argument("--url", default=talks.URL, help="where to fetch it (default: %(default)s)")
    parser.add_argument("--sha256", metavar="HEX", help="refuse an archive with another checksum")
    parser.add_argument(
        "--bpe-operations", type=int, default=10000, help="number of subword merges (default: %(default)s)"
    )
    add_workers(parser)
    args = parser.parse_args(argv)
    # Known before the archive is fetched.
    text_pipeline.need_packages(*command.NEEDS["iwslt14"])
    archive = args.archive or find_archive(ARCHIVE, (Path(), Path("orig")))
    if archive is None:
        archive = talks.fetch(Path("orig") / ARCHIVE, args.url, args.sha256)
    words = ["--archive", str(archive), *(["--sha256", args.sha256] if args.sha256 else [])]
    words += ["--destdir", FOLDER, "--workdir", f"{FOLDER}/tmp", "--keep-text"]
    words += ["--workers", str(args.workers), "--bpe-operations", str(args.bpe_operations)]
    command.main(["iwslt14", *words])
