"""Files that may lie elsewhere: on the web, in S3, or in an archive. What is fetched is kept in a cache.

``cached_path``         a local path for a path or URL
``load_archive_file``   a folder for a folder, an archive, or the URL of an archive

The cache is ``$PYTORCH_FAIRSEQ_CACHE`` (default: ``pytorch_fairseq`` in the cache of torch).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from fairseq.archives import ArchiveStream, open_archive
from fairseq.file_io import PathManager, atomic_open

__all__ = [
    "CONFIG_NAME",
    "PYTORCH_FAIRSEQ_CACHE",
    "WEIGHTS_NAME",
    "cached_path",
    "cached_path_from_pm",
    "default_cache_path",
    "filename_to_url",
    "get_file_extension",
    "get_from_cache",
    "http_get",
    "load_archive_file",
    "read_set_from_file",
    "request_wrap_timeout",
    "s3_etag",
    "s3_get",
    "s3_request",
    "split_s3_path",
    "torch_cache_home",
    "url_to_filename",
]

logger = logging.getLogger(__name__)

torch_cache_home = os.path.expanduser(
    os.getenv("TORCH_HOME", os.path.join(os.getenv("XDG_CACHE_HOME", "~/.cache"), "torch"))
)
default_cache_path = os.path.join(torch_cache_home, "pytorch_fairseq")
PYTORCH_FAIRSEQ_CACHE = Path(os.getenv("PYTORCH_FAIRSEQ_CACHE", default_cache_path))

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "pytorch_model.bin"

TIMEOUTS = (10, 20, 40, 60, 60)
CHUNK_BYTES = 1 << 20


def load_archive_file(archive_file: str | os.PathLike[str]) -> str | None:
    """A local folder with what a folder, a tar archive or the URL of one holds.

    An archive is unpacked once, into the cache. Members that would land outside of the folder are refused.

    Args:
        archive_file: a path or URL.

    Returns:
        A folder (or the path itself, if it is a file that is no archive); ``None``, with a line in the log, if there is
        nothing of this name.

    Raises:
        ValueError: the archive is damaged, or holds what would land elsewhere, or far more than its size lets expect.
    """
    archive_file = os.fspath(archive_file)
    try:
        found = cached_path(archive_file)
    except OSError as error:
        logger.info("Archive name '%s' was not found: %s", archive_file, error)
        return None
    if os.path.isdir(found):
        return found
    with open_archive(found) as stream:
        if stream is None:
            return found
        folder = os.path.join(PYTORCH_FAIRSEQ_CACHE, hashlib.sha256(stream.identity.encode()).hexdigest() + ".unpacked")
        if not os.path.isdir(folder):
            logger.info("extracting archive file %s to %s", found, folder)
            _unpack(stream, folder)
    return folder


def _unpack(stream: ArchiveStream, folder: str) -> None:
    """Unpack an archive; the folder appears when it is complete. The one folder that all members share is left out."""
    parent = os.path.dirname(folder)
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as temporary:
        stream.extract_to(temporary)
        entries = os.listdir(temporary)
        whole = os.path.join(temporary, "content")
        if len(entries) == 1 and os.path.isdir(os.path.join(temporary, entries[0])):
            whole = os.path.join(temporary, entries[0])
        else:
            os.mkdir(whole)
            for entry in entries:
                shutil.move(os.path.join(temporary, entry), whole)
        try:
            os.replace(whole, folder)
        except OSError:
            if not os.path.isdir(folder):  # else another process was faster
                raise


def url_to_filename(url: str, etag: str | None = None) -> str:
    """The name of a URL in the cache; another version (entity tag) has another name."""
    name = hashlib.sha256(url.encode("utf-8")).hexdigest()
    return f"{name}.{hashlib.sha256(etag.encode('utf-8')).hexdigest()}" if etag else name


def filename_to_url(filename: str, cache_dir: str | os.PathLike[str] | None = None) -> tuple[str, str | None]:
    """The URL and entity tag of a file in the cache.

    Raises:
        OSError: it is not there, or nothing is known about it.
    """
    path = os.path.join(cache_dir or PYTORCH_FAIRSEQ_CACHE, filename)
    for needed in (path, path + ".json"):
        if not os.path.exists(needed):
            raise OSError(f"file {needed} not found")
    with open(path + ".json", encoding="utf-8") as file:
        known = json.load(file)
    return known["url"], known["etag"]


def cached_path_from_pm(url_or_filename: str | os.PathLike[str]) -> str | None:
    """A local path by iopath's handlers; ``None`` if no handler knows the name."""
    url_or_filename = os.fspath(url_or_filename)
    if not PathManager.path_requires_pathmanager(url_or_filename):
        return None
    try:
        return PathManager.get_local_path(url_or_filename)
    except OSError:
        return None


def cached_path(url_or_filename: str | os.PathLike[str], cache_dir: str | os.PathLike[str] | None = None) -> str:
    """A local path for a path or URL; a URL is fetched if the cache lacks its current version.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: neither a path nor a kind of URL that can be fetched.
        OSError: the server does not answer, and the cache has no version at all.
    """
    name = os.fspath(url_or_filename)
    scheme = urllib.parse.urlparse(name).scheme
    if scheme in ("http", "https", "s3"):
        return get_from_cache(name, cache_dir)
    if os.path.exists(name):
        return name
    local = cached_path_from_pm(name)
    if local:
        return local
    # A drive letter parses as a scheme of one letter.
    if len(scheme) <= 1:
        raise FileNotFoundError(f"file {name} not found")
    raise ValueError(f"unable to parse {name} as a URL or as a local path")


def split_s3_path(url: str) -> tuple[str, str]:
    """Bucket and key of an ``s3://bucket/key`` URL.

    Raises:
        ValueError: one of them is missing.
    """
    parsed = urllib.parse.urlparse(url)
    key = parsed.path.removeprefix("/")
    if not parsed.netloc or not key:
        raise ValueError(f"bad s3 path {url}")
    return parsed.netloc, key


def s3_request(func: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: an object that does not exist raises ``FileNotFoundError`` instead of boto's own error."""

    @functools.wraps(func)
    def wrapper(url: str, *args: Any, **kwargs: Any) -> Any:
        from botocore.exceptions import ClientError

        try:
            return func(url, *args, **kwargs)
        except ClientError as error:
            if int(error.response["Error"]["Code"]) == 404:
                raise FileNotFoundError(f"file {url} not found") from error
            raise

    return wrapper


def _s3_object(url: str) -> Any:
    try:
        import boto3
    except ImportError as error:
        raise ImportError("Please install boto3 with: pip install boto3") from error
    return boto3.resource("s3").Object(*split_s3_path(url))


@s3_request
def s3_etag(url: str) -> str | None:
    """The entity tag of an object in S3."""
    return _s3_object(url).e_tag


@s3_request
def s3_get(url: str, temp_file: IO[bytes]) -> None:
    """Fetch an object from S3."""
    _s3_object(url).download_fileobj(temp_file)


def request_wrap_timeout(func: Callable[..., Any], url: str) -> Any:
    """Call ``func(timeout=seconds)`` with more and more patience.

    Raises:
        RuntimeError: no answer came in time, in five attempts.
    """
    for attempt, timeout in enumerate(TIMEOUTS, start=1):
        try:
            return func(timeout=timeout)
        except (TimeoutError, urllib.error.URLError) as error:
            if not isinstance(getattr(error, "reason", error), TimeoutError):
                raise
            logger.warning("request for %s timed out after %s seconds (attempt %s)", url, timeout, attempt)
    raise RuntimeError(f"Unable to fetch file {url}")


def http_get(url: str, temp_file: IO[bytes]) -> None:
    """Fetch a URL, with a progress bar."""
    from tqdm import tqdm

    response = request_wrap_timeout(functools.partial(urllib.request.urlopen, url), url)
    with response:
        length = response.headers.get("Content-Length")
        total = int(length) if length else None
        fetched = 0
        with tqdm(total=total, unit="B", unit_scale=True, desc=os.path.basename(url), disable=None) as bar:
            while chunk := response.read(CHUNK_BYTES):
                fetched += len(chunk)
                bar.update(len(chunk))
                temp_file.write(chunk)
        if total is not None and fetched < total:
            raise OSError(f"{url}: the connection ended after {fetched:,} of {total:,} bytes; try again")


def get_from_cache(url: str, cache_dir: str | os.PathLike[str] | None = None) -> str:
    """The local copy of a URL; fetched if the cache lacks its current version.

    Without a connection, the newest version in the cache is used.

    Raises:
        OSError: no connection, and nothing in the cache.
    """
    folder = str(cache_dir or PYTORCH_FAIRSEQ_CACHE)
    try:
        etag = s3_etag(url) if url.startswith("s3://") else _http_etag(url)
    except urllib.error.HTTPError as error:
        raise OSError(f"{url}: the server says {error.code} {error.reason}") from error
    except (OSError, RuntimeError) as error:
        kept = _newest(folder, url_to_filename(url))
        if kept is None:
            raise OSError(f"{url} cannot be reached ({error}), and no earlier copy is in {folder}") from error
        return kept
    path = os.path.join(folder, url_to_filename(url, etag))
    if not os.path.exists(path):
        with atomic_open(path, "wb") as out:
            (s3_get if url.startswith("s3://") else http_get)(url, out)
        with atomic_open(path + ".json") as out:
            json.dump({"url": url, "etag": etag}, out)
    return path


def _http_etag(url: str) -> str | None:
    head = urllib.request.Request(url, method="HEAD")
    with request_wrap_timeout(functools.partial(urllib.request.urlopen, head), url) as response:
        return response.headers.get("ETag")


def _newest(folder: str, prefix: str) -> str | None:
    """The newest file in the cache whose name begins so."""
    with contextlib.suppress(FileNotFoundError):
        paths = [entry.path for entry in os.scandir(folder) if entry.name.startswith(prefix)]
        paths = [path for path in paths if not path.endswith((".json", ".tmp"))]
        if paths:
            return max(paths, key=os.path.getmtime)
    return None


def read_set_from_file(filename: str | os.PathLike[str]) -> set[str]:
    """The different lines of a text file, without white space at their ends."""
    with open(filename, encoding="utf-8") as file:
        return {line.rstrip() for line in file}


def get_file_extension(path: str | os.PathLike[str], dot: bool = True, lower: bool = True) -> str:
    """The extension of a path, with or without the dot, in lower case or as it is."""
    extension = os.path.splitext(path)[1]
    extension = extension if dot else extension[1:]
    return extension.lower() if lower else extension
