"""Fetches public models from a folder or from the network.

A file is accepted only with the right hash, and appears at its path completely or not at all. An interrupted
download continues where it stopped. Proxies come from the environment (``https_proxy``, ``no_proxy``).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from affectstream.engines.cache.atomic import replacing
from affectstream.engines.cache.digest import sha256
from affectstream.engines.errors import BundleError
from affectstream.engines.models.download import (
    Deadline,
    PermanentError,
    PullProgress,
    RetryableError,
    download,
)
from affectstream.engines.models.registry import MODELS_VARIABLE, PublicFile

RETRY_WAITS_S = (0.5, 1.0, 2.0, 4.0)
"""Waits before each new attempt."""
_BASE_LIMIT_S, _LONGEST_LIMIT_S = 60.0, 86_400.0
_SLOWEST = 100_000
"""Bytes a second. A download may take `_BASE_LIMIT_S`, and as long as this rate needs for the file."""


class PullError(BundleError):
    """A public model could not be fetched. The message says how to fetch it by hand."""


def pull_file(
    name: str,
    model: PublicFile,
    *,
    folder: Path | None = None,
    progress: PullProgress = lambda done: None,
    wait: Callable[[float], None] = time.sleep,
    limit_s: float | None = None,
) -> Path:
    """Fetch one file of the model `name`, unless it was pulled already, and return its path.

    With `folder` it is copied from there. Otherwise it is copied from the folder that `MODELS_VARIABLE`
    names if it is there, and downloaded if not. If several processes pull it at once, one does and the
    others wait. A download with all its attempts ends after `limit_s`, by default one minute and what a
    rate of 100 kB/s needs; the next call continues it. Raises `PullError`, which says how to fetch the file
    by hand.
    """
    target = model.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if not _matches(target, model):
                limit_s = limit_s or _BASE_LIMIT_S + model.size / _SLOWEST
                deadline = Deadline(min(limit_s, _LONGEST_LIMIT_S))
                _fetch(name, model, target, folder, progress, wait, deadline)
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
    deadline: Deadline,
) -> None:
    if folder is not None:
        return _copy(name, model, folder, target)
    own = os.environ.get(MODELS_VARIABLE)
    if own and (Path(own) / model.file).is_file():
        return _copy(name, model, Path(own), target)
    partial = target.with_suffix(".part")
    for pause in (*RETRY_WAITS_S, None):
        try:
            resumed = download(model.url, model.size, partial, progress, deadline)
            return _accept(model, partial, target, resumed)
        except RetryableError as error:
            if pause is None or deadline.expired:
                raise PullError(f"{name}: {error}; {_by_hand(name, model)}") from error
            wait(pause)
        except PermanentError as error:
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
        kind = RetryableError if resumed else PermanentError  # the older part may be wrong
        raise kind(
            f"the file at {model.url} has SHA-256 {actual}, expected {model.sha256}: it was not kept"
        )
    partial.replace(target)


def _matches(path: Path, model: PublicFile) -> bool:
    return path.is_file() and path.stat().st_size == model.size and sha256(path) == model.sha256


def _by_hand(name: str, model: PublicFile) -> str:
    return (
        f"by hand: download {model.url} ({model.size} bytes, SHA-256 {model.sha256}) as "
        f"{model.file} into some FOLDER, then: affectstream engines pull {name} --from FOLDER"
    )
