"""Files: atomic writing, deferred writing, the cache, archives."""

import errno
import io
import json
import os
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fairseq import file_io, file_utils
from fairseq.file_io import PathManager, atomic_open


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file"
    with atomic_open(str(path)) as out:
        out.write("é\n")
        assert not path.exists()
    assert path.read_bytes() == "é\n".encode()
    with pytest.raises(KeyError), atomic_open(str(path), "wb") as out:
        out.write(b"half")
        raise KeyError("stop")
    assert path.read_bytes() == "é\n".encode()
    assert os.listdir(path.parent) == ["file"]


def test_a_file_has_the_permissions_that_open_would_give(tmp_path):
    with atomic_open(str(tmp_path / "atomic")) as out:
        out.write("x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_errors_name_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file/x"), atomic_open(str(tmp_path / "file" / "x")) as out:
        out.write("x")
    with pytest.raises(OSError, match="No space left on device: '.*y'"), atomic_open(str(tmp_path / "y")):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_path_manager_works_on_local_files(tmp_path):
    folder, path = str(tmp_path / "a" / "b"), str(tmp_path / "a" / "b" / "f")
    PathManager.mkdirs(folder)
    PathManager.mkdirs("")
    with PathManager.open(path, "w", encoding="utf-8") as file:
        file.write("x")
    PathManager.copy(path, path + "2")
    with pytest.raises(FileExistsError):
        PathManager.copy(path, path + "2")
    PathManager.copy_from_local(path, path + "2", overwrite=True)
    assert sorted(PathManager.ls(folder)) == ["f", "f2"]
    PathManager.rename(path + "2", path)
    PathManager.chmod(path, 0o600)
    assert (PathManager.exists(folder), PathManager.isfile(folder), PathManager.isfile(path)) == (True, False, True)
    assert PathManager.get_local_path(path) == path
    assert PathManager.supports_rename(path)
    PathManager.rm(path)
    assert not PathManager.exists(path)


def test_deferred_files_are_on_disk_after_waiting(tmp_path):
    for number in range(3):
        with PathManager.opena(str(tmp_path / "f"), "wb") as file:
            file.write(b"%d" % number)
    with PathManager.opena(str(tmp_path / "t"), "w", encoding="utf-8") as file:
        file.write("é")
    assert PathManager.async_close()
    assert (tmp_path / "f").read_bytes() == b"2"
    assert (tmp_path / "t").read_text(encoding="utf-8") == "é"
    assert not PathManager.async_close()
    (tmp_path / "dir").mkdir()
    with PathManager.opena(str(tmp_path / "f" / "x"), "wb") as file:
        file.write(b"x")
    with pytest.raises(OSError, match="f/x"):
        PathManager.async_close()


def test_handlers_need_iopath():
    if file_io.IOPathManager is None:
        with pytest.raises(ImportError, match="pip install iopath"):
            PathManager.register_handler(object())


class Server(BaseHTTPRequestHandler):
    body, etag, requests = b"content", '"one"', []

    def do_HEAD(self):
        self.respond()

    def do_GET(self):
        self.respond()
        self.wfile.write(self.body)

    def respond(self):
        self.requests.append(self.command)
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("ETag", self.etag)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setattr(file_utils, "PYTORCH_FAIRSEQ_CACHE", tmp_path / "cache")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Server.requests.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_url_is_fetched_once_per_version_and_kept_without_connection(url, monkeypatch):
    path = file_utils.cached_path(url + "/f")
    assert Path(path).read_bytes() == b"content"
    assert file_utils.cached_path(url + "/f") == path
    assert Server.requests == ["HEAD", "GET", "HEAD"]
    assert file_utils.filename_to_url(os.path.basename(path)) == (url + "/f", '"one"')
    monkeypatch.setattr(Server, "etag", '"two"')
    assert file_utils.cached_path(url + "/f") != path

    def unreachable(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    assert os.path.exists(file_utils.cached_path(url + "/f"))
    with pytest.raises(OSError, match="cannot be reached"):
        file_utils.cached_path(url + "/other")


def test_what_the_server_does_not_have_is_an_error(url):
    with pytest.raises(OSError, match="404"):
        file_utils.cached_path(url + "/none")


def test_paths_that_do_not_exist_and_strange_urls_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="not found"):
        file_utils.cached_path(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="unable to parse"):
        file_utils.cached_path("gopher://x/y")
    assert file_utils.split_s3_path("s3://bucket/a/b") == ("bucket", "a/b")
    with pytest.raises(ValueError, match="bad s3 path"):
        file_utils.split_s3_path("s3://bucket")


def test_patience_ends_after_five_attempts():
    waited = []

    def too_late(timeout):
        waited.append(timeout)
        raise TimeoutError

    with pytest.raises(RuntimeError, match="Unable to fetch file u"):
        file_utils.request_wrap_timeout(too_late, "u")
    assert waited == [10, 20, 40, 60, 60]


def make_archive(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))


def test_an_archive_becomes_a_folder_once_and_stays_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(file_utils, "PYTORCH_FAIRSEQ_CACHE", tmp_path / "cache")
    archive = tmp_path / "model.tar.gz"
    make_archive(archive, ("model/dict.txt", b"a 1\n"), ("model/model.pt", b"x"))
    folder = file_utils.load_archive_file(str(archive))
    assert sorted(os.listdir(folder)) == ["dict.txt", "model.pt"]
    assert file_utils.load_archive_file(str(archive)) == folder
    assert archive.exists()
    make_archive(tmp_path / "flat.tgz", ("a", b"1"), ("b", b"2"))
    assert sorted(os.listdir(file_utils.load_archive_file(str(tmp_path / "flat.tgz")))) == ["a", "b"]
    assert file_utils.load_archive_file(str(tmp_path)) == str(tmp_path)
    assert file_utils.load_archive_file(str(tmp_path / "none")) is None


def test_an_archive_that_reaches_outside_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(file_utils, "PYTORCH_FAIRSEQ_CACHE", tmp_path / "cache")
    make_archive(tmp_path / "evil.tar.gz", ("../../evil", b"x"))
    with pytest.raises(ValueError, match="is refused"):
        file_utils.load_archive_file(str(tmp_path / "evil.tar.gz"))
    assert not (tmp_path / "evil").exists()
    assert os.listdir(tmp_path / "cache") == []


def test_small_helpers(tmp_path):
    (tmp_path / "s").write_text("a\nb \na\n")
    assert file_utils.read_set_from_file(str(tmp_path / "s")) == {"a", "b"}
    assert file_utils.get_file_extension("x/Y.TXT") == ".txt"
    assert file_utils.get_file_extension("x/Y.TXT", dot=False, lower=False) == "TXT"
    with pytest.raises(OSError, match="not found"):
        file_utils.filename_to_url("none", tmp_path)
    (tmp_path / "known").write_text("")
    (tmp_path / "known.json").write_text(json.dumps({"url": "u", "etag": None}))
    assert file_utils.filename_to_url("known", tmp_path) == ("u", None)
