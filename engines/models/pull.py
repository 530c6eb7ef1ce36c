"""Fetching public models: from a folder that is at hand, or from the network.

What arrives is believed for its hash, not for where it came from, and takes its place whole or not at
all. A download that broke off is taken up where it ended. Proxies are those of the environment
(``https_proxy``, ``no_proxy``), as for every program.
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

from affectstream.engines.cache.digest import sha256
from affectstream.engines.errors import BundleError
from affectstream.engines.models.registry import FOLDER, PublicFile

WAITS_S = (0.5, 1.0, 2.0, 4.0)
"""Pauses before another attempt."""
_TIMEOUT_S = 30.0
_BLOCK = 1 << 16
_LATER = (408, 429, 500, 502, 503, 504)  # HTTP answers that may be different next time

Progress = Callable[[int], None]
"""Takes the bytes that are there so far."""


class PullError(BundleError):
    """A public model could not be fetched; says how to fetch it by hand."""


class _Again(Exception):
    """An attempt failed in a way that another may not."""


class _Refused(Exception):
    """No other attempt will help."""


def pull(
    name: str,
    model: PublicFile,
    *,
    folder: Path | None = None,
    progress: Progress = lambda done: None,
    wait: Callable[[float], None] = time.sleep,
) -> Path:
    """Have one file of the model `name` in its place and return that; at once where it is there.

    It is looked for in `folder` alone where that is given, else in the folder that `FOLDER` names,
    else on the network. Several processes may pull at once: one does, the others wait. Raises
    `PullError` with the steps by hand.
    """
    target = model.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if not _fits(target, model):
                _get(name, model, target, folder, progress, wait)
    except OSError as error:
        raise PullError(f"{target.parent} cannot hold {name}: {error}") from error
    return target


def _get(
    name: str,
    model: PublicFile,
    target: Path,
    folder: Path | None,
    progress: Progress,
    wait: Callable[[float], None],
) -> None:
    if folder is not None:
        return _copy(name, model, folder, target)
    named = os.environ.get(FOLDER)
    if named and (Path(named) / model.file).is_file():
        return _copy(name, model, Path(named), target)
    partial = target.with_suffix(".part")
    for pause in (*WAITS_S, None):
        try:
            resumed = _download(model, partial, progress)
            return _keep(model, partial, target, resumed)
        except _Again as error:
            if pause is None:
                raise PullError(f"{name}: {error}; {_by_hand(name, model)}") from error
            wait(pause)
        except _Refused as error:
            raise PullError(f"{name}: {error}; {_by_hand(name, model)}") from error


def _copy(name: str, model: PublicFile, folder: Path, target: Path) -> None:
    source = folder / model.file
    if not source.is_file():
        raise PullError(f"{source} is not there; {_by_hand(name, model)}")
    partial = target.with_suffix(".copy")
    shutil.copyfile(source, partial)
    if not _fits(partial, model):
        found = sha256(partial)
        partial.unlink()
        raise PullError(f"{source} is not {name}: its SHA-256 is {found}, expected {model.sha256}")
    partial.replace(target)


def _keep(model: PublicFile, partial: Path, target: Path, resumed: bool) -> None:
    if not _fits(partial, model):
        found = sha256(partial)
        partial.unlink()
        kind = _Again if resumed else _Refused  # the part that lay here may be what is wrong
        raise kind(
            f"what {model.url} gives has SHA-256 {found}, expected {model.sha256}: it was not kept"
        )
    partial.replace(target)


def _fits(path: Path, model: PublicFile) -> bool:
    return path.is_file() and path.stat().st_size == model.size and sha256(path) == model.sha256


def _download(model: PublicFile, partial: Path, progress: Progress) -> bool:
    """Bring `partial` to the model's size; whether it began with what was there.

    Raises `_Again` or `_Refused`.
    """
    have = partial.stat().st_size if partial.exists() else 0
    if have >= model.size:
        partial.unlink()
        have = 0
    request = urllib.request.Request(model.url, headers={"User-Agent": "affectstream"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        # An opener of its own: the module's would keep the proxies of its first use.
        with urllib.request.build_opener().open(request, timeout=_TIMEOUT_S) as response:
            have = begun = _start(model, response)
            with partial.open("r+b" if begun else "wb") as file:
                file.seek(begun)
                file.truncate()
                while block := response.read(_BLOCK):
                    have += len(block)
                    if have > model.size:
                        break
                    file.write(block)
                    progress(have)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the server has less than we do: begin again
            partial.unlink(missing_ok=True)
            raise _Again(f"{model.url} does not continue at {have} bytes") from error
        kind = _Again if error.code in _LATER else _Refused
        raise kind(f"{model.url} answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _Again(f"{model.url} cannot be reached: {error.reason}") from error
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _Again(
            f"{model.url} broke off after {have} of {model.size} bytes: {error}"
        ) from error
    if have > model.size:
        partial.unlink()
        raise _Refused(f"{model.url} gives more than the {model.size} bytes expected")
    if have < model.size:
        raise _Again(f"{model.url} ended after {have} of {model.size} bytes")
    return begun > 0


def _start(model: PublicFile, response: http.client.HTTPResponse) -> int:
    """Where in the file the answer begins: 0 where the server does not go on from what we have.

    Raises `_Refused` where it tells that the file has another size: a login page, most often.
    """
    part = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if response.status == 206 and part:
        begin, whole = int(part[1]), part[2]
    else:
        begin, whole = 0, response.headers.get("Content-Length", "*")
    if whole.isdecimal() and int(whole) != model.size:
        raise _Refused(f"{model.url} has {whole} bytes, expected {model.size}")
    return begin


def _by_hand(name: str, model: PublicFile) -> str:
    return (
        f"by hand: download {model.url} ({model.size} bytes, SHA-256 {model.sha256}) as "
        f"{model.file} into some FOLDER, then: affectstream engines pull {name} --from FOLDER"
    )
