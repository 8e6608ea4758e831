"""Fetching archives: continued, checked, and refused in one sentence."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairseq_cli.recipes.download import check_archive, fetch, find_archive

BODY = gzip.compress(bytes(range(256)) * 64)
DIGEST = hashlib.sha256(BODY).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves one file; the first ``cuts`` answers end in the middle."""

    body = BODY
    etag = '"one"'
    cuts = 0
    location = ""
    ranges: list[str | None]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        start = 0
        if (wanted := self.headers.get("Range")) and self.headers.get("If-Range") == self.server.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        body = self.server.body[start:]
        if start and not body:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("ETag", self.server.etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.cuts > 0:
            self.server.cuts -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.ranges = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/a.tgz"


def test_an_interrupted_download_is_continued(server: Server, tmp_path: Path) -> None:
    server.cuts = 1
    with pytest.raises(OSError, match=rf"ended after .* of {len(BODY):,} bytes; run the command again to continue"):
        fetch(tmp_path / "a.tgz", url(server))
    assert not (tmp_path / "a.tgz").exists()
    assert fetch(tmp_path / "a.tgz", url(server), DIGEST).read_bytes() == BODY
    assert server.ranges == [None, f"bytes={len(BODY) // 2}-"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tgz", "a.tgz.sha256"]
    assert (tmp_path / "a.tgz.sha256").read_text() == f"{DIGEST}  a.tgz\n"


def test_a_file_that_changed_at_the_server_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.cuts = 1
    with pytest.raises(OSError, match="run the command again"):
        fetch(tmp_path / "a.tgz", url(server))
    server.body, server.etag = gzip.compress(b"other"), '"two"'
    assert gzip.decompress(fetch(tmp_path / "a.tgz", url(server)).read_bytes()) == b"other"


def test_a_wrong_checksum_is_refused_and_nothing_is_left(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"SHA-256 is {DIGEST}, expected {'0' * 64}"):
        fetch(tmp_path / "a.tgz", url(server), "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_archive_without_a_known_checksum_is_refused(server: Server, tmp_path: Path) -> None:
    server.body = BODY[:-6] + b"xxxxxx"
    with pytest.raises(ValueError, match="damaged"):
        fetch(tmp_path / "a.tgz", url(server))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changed_since_its_download_is_noticed(server: Server, tmp_path: Path) -> None:
    target = fetch(tmp_path / "a.tgz", url(server))
    target.write_bytes(gzip.compress(b"other"))
    record = (tmp_path / "a.tgz.sha256").stat()
    os.utime(target, ns=(record.st_atime_ns, record.st_mtime_ns + 1))
    with pytest.raises(ValueError, match="not the expected file"):
        fetch(target, url(server))


def test_no_server_is_one_sentence_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"https://127\.0\.0\.1:9/a\.tgz could not be downloaded \(.*\); put it here$"):
        fetch(tmp_path / "deep" / "a.tgz", "https://127.0.0.1:9/a.tgz", hint="; put it here")
    assert list((tmp_path / "deep").iterdir()) == []


def test_zip_files_are_checked_by_their_own_checksums(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("text", "many words")
    check_archive(tmp_path / "a.zip")
    body = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(body.replace(b"many words", b"many wordz", 1))
    with pytest.raises(ValueError, match="checksum of text"):
        check_archive(tmp_path / "a.zip")


def test_an_archive_lying_around_is_found_in_order(tmp_path: Path) -> None:
    (tmp_path / "orig").mkdir()
    assert find_archive("a.tgz", (tmp_path, tmp_path / "orig")) is None
    (tmp_path / "orig" / "a.tgz").touch()
    assert find_archive("a.tgz", (tmp_path, tmp_path / "orig")) == tmp_path / "orig" / "a.tgz"


def test_the_talks_come_over_https() -> None:
    from fairseq_cli.prepare import iwslt14

    assert iwslt14.URL.startswith("https://")
