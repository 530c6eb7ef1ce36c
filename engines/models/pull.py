"""Fetches public models from a folder or from the network.

A file is accepted only with the right hash, and appears at its path completely or not at all. An interrupted
download continues where it stopped. Proxies come from the environment (``https_proxy``, ``no_proxy``).
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from affectstream.engines.cache.atomic import replacing
from affectstream.engines.cache.digest import sha256
from affectstream.engines.errors import BundleError
from affectstream.engines.models.registry import MODELS_VARIABLE, PublicFile

RETRY_WAITS_S = (0.5, 1.0, 2.0, 4.0)
"""Waits before each new attempt."""
_TIMEOUT_S = 30.0
_BLOCK = 1 << 16
_RETRY_STATUS = (408, 429, 500, 502, 503, 504)  # HTTP errors that may be temporary

PullProgress = Callable[[int], None]
"""Called with the number of bytes received so far."""


class PullError(BundleError):
    """A public model could not be fetched. The message says how to fetch it by hand."""


class _RetryableError(Exception):
    """An attempt failed, but another may succeed."""


class _PermanentError(Exception):
    """Another attempt would fail too."""


def pull_file(
    name: str,
    model: PublicFile,
    *,
    folder: Path | None = None,
    progress: PullProgress = lambda done: None,
    wait: Callable[[float], None] = time.sleep,
) -> Path:
    """Fetch one file of the model `name`, unless it was pulled already, and return its path.

    With `folder` it is copied from there. Otherwise it is copied from the folder that `MODELS_VARIABLE`
    names if it is there, and downloaded if not. If several processes pull it at once, one does and the
    others wait. Raises `PullError`, which says how to fetch it by hand.
    """
    target = model.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if not _matches(target, model):
                _fetch(name, model, target, folder, progress, wait)
    except OSError as error:
        raise PullError(f"{target.parent} cannot hold {name}: {error}") from error
    return target


def _fetch(
    name: str,
    model: PublicFile,
    target: Path,
    folder: Path | None,
    progress: PullProgress,
    wait: Callable[[float], None],
) -> None:
    if folder is not None:
        return _copy(name, model, folder, target)
    own = os.environ.get(MODELS_VARIABLE)
    if own and (Path(own) / model.file).is_file():
        return _copy(name, model, Path(own), target)
    partial = target.with_suffix(".part")
    for pause in (*RETRY_WAITS_S, None):
        try:
            resumed = _download(model, partial, progress)
            return _accept(model, partial, target, resumed)
        except _RetryableError as error:
            if pause is None:
                raise PullError(f"{name}: {error}; {_by_hand(name, model)}") from error
            wait(pause)
        except _PermanentError as error:
            raise PullError(f"{name}: {error}; {_by_hand(name, model)}") from error


def _copy(name: str, model: PublicFile, folder: Path, target: Path) -> None:
    source = folder / model.file
    if not source.is_file():
        raise PullError(f"{source} is not there; {_by_hand(name, model)}")
    with replacing(target) as copy:
        shutil.copyfile(source, copy)
        if not _matches(copy, model):
            raise PullError(
                f"{source} is not {name}: its SHA-256 is {sha256(copy)}, expected {model.sha256}"
            )


def _accept(model: PublicFile, partial: Path, target: Path, resumed: bool) -> None:
    if not _matches(partial, model):
        actual = sha256(partial)
        partial.unlink()
        kind = _RetryableError if resumed else _PermanentError  # the older part may be wrong
        raise kind(
            f"the file at {model.url} has SHA-256 {actual}, expected {model.sha256}: it was not kept"
        )
    partial.replace(target)


def _matches(path: Path, model: PublicFile) -> bool:
    return path.is_file() and path.stat().st_size == model.size and sha256(path) == model.sha256


def _download(model: PublicFile, partial: Path, progress: PullProgress) -> bool:
    """Download the rest of the file `partial`; returns whether it continued an older part.

    Raises `_RetryableError` or `_PermanentError`.
    """
    have = partial.stat().st_size if partial.exists() else 0
    if have >= model.size:
        partial.unlink()
        have = 0
    request = urllib.request.Request(model.url, headers={"User-Agent": "affectstream"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        # A new opener: the module's own would keep the proxies of its first use.
        with urllib.request.build_opener().open(request, timeout=_TIMEOUT_S) as response:
            have = offset = _offset(model, response)
            with partial.open("r+b" if offset else "wb") as file:
                file.seek(offset)
                file.truncate()
                while block := response.read(_BLOCK):
                    have += len(block)
                    if have > model.size:
                        break
                    file.write(block)
                    progress(have)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the server has fewer bytes than we have: start again
            partial.unlink(missing_ok=True)
            raise _RetryableError(f"{model.url} does not continue at {have} bytes") from error
        kind = _RetryableError if error.code in _RETRY_STATUS else _PermanentError
        raise kind(f"{model.url} answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _RetryableError(f"{model.url} cannot be reached: {error.reason}") from error
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _RetryableError(
            f"{model.url} broke off after {have} of {model.size} bytes: {error}"
        ) from error
    if have > model.size:
        partial.unlink()
        raise _PermanentError(f"{model.url} sends more than the {model.size} bytes expected")
    if have < model.size:
        raise _RetryableError(f"{model.url} ended after {have} of {model.size} bytes")
    return offset > 0


def _offset(model: PublicFile, response: http.client.HTTPResponse) -> int:
    """The offset at which the response begins: 0 if the server does not continue the older part.

    Raises `_PermanentError` when the server's file has another size; most often it is a login page.
    """
    part = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if response.status == 206 and part:
        offset, size = int(part[1]), part[2]
    else:
        offset, size = 0, response.headers.get("Content-Length", "*")
    if size.isdecimal() and int(size) != model.size:
        raise _PermanentError(f"{model.url} has {size} bytes, expected {model.size}")
    return offset


def _by_hand(name: str, model: PublicFile) -> str:
    return (
        f"by hand: download {model.url} ({model.size} bytes, SHA-256 {model.sha256}) as "
        f"{model.file} into some FOLDER, then: affectstream engines pull {name} --from FOLDER"
    )
