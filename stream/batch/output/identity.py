"""What results were made from and with, so that a later run knows whether they still hold.

`run.json` says it of each recording: `input` and `transcript` (size, time of change, SHA-256), and
`made_with` (version of this package, of the events, the bundle, the options).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import MANIFEST
from affectstream.engines.cache.digest import sha256
from affectstream.stream.batch.plan.task import Task
from affectstream.stream.events import SCHEMA
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.options import SourceOptions
from affectstream.stream.transcript.files import find_transcript, is_transcript


def made_by(recognizer: LoadedBundle) -> dict[str, str]:
    """The versions that decide on results: of this package, of the events, and of the bundle."""
    return {
        "affectstream": version("affectstream"),
        "schema": SCHEMA,
        "bundle": sha256(recognizer.bundle.folder / MANIFEST),
    }


def options_hash(options: SourceOptions, described: Mapping[str, Any] | None = None) -> str:
    """A hash of all options that decide on results; that of a transcript is its name.

    With `described`, of the options that a `run.json` states, with the metadata of the speakers and
    `max_pixels` of `options`: it does not state the former, nor, of an older version, the latter.
    """
    full = {
        **(options.described() if described is None else described),
        "metadata": options.metadata,
        "max_pixels": options.max_pixels,
    }
    return hashlib.sha256(msgspec.json.encode(full, order="sorted")).hexdigest()


def transcript_of(task: Task, bundle: Bundle) -> Path | None:
    """The file of the words that a session of this recording looks into."""
    unread = "text" not in bundle.modalities or not task.options.allows("text")
    if unread or is_transcript(task.path):
        return None
    return task.options.transcript or find_transcript(task.path)


def file_identity(path: Path) -> dict[str, Any]:
    """Size, time of change and content of a file. Raises `OSError`."""
    before = path.stat()
    return {"size": before.st_size, "mtime_ns": before.st_mtime_ns, "sha256": sha256(path)}


def identity_or_none(path: Path) -> dict[str, Any] | None:
    """The identity of a file; None of one that cannot be read, and of what is no file: a pipe would be waited
    for without end."""
    with suppress(OSError):
        return file_identity(path) if path.is_file() else None
    return None


def is_unchanged(path: Path, identity: Mapping[str, Any] | None) -> bool:
    """Whether a file is still the one of `identity`, or still none. The content is read only if the time of
    change differs, as after copying."""
    if identity is None:
        return not (path.is_file() and os.access(path, os.R_OK))
    try:
        now = path.stat()
        if now.st_size != identity["size"]:
            return False
        return bool(now.st_mtime_ns == identity["mtime_ns"]) or sha256(path) == identity["sha256"]
    except OSError:
        return False
