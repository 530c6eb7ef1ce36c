"""Where results go: a folder, or an object store through fsspec (``s3://bucket/results``, ``gs://...``)."""

from __future__ import annotations

from pathlib import Path

from affectstream.stream.batch.output.folder_storage import FolderStorage
from affectstream.stream.batch.output.object_storage import ObjectStorage
from affectstream.stream.batch.output.storage_protocol import Storage
from affectstream.stream.errors import OutputError

__all__ = ["FolderStorage", "ObjectStorage", "Storage", "storage_at"]


def storage_at(output: str | Path) -> FolderStorage | ObjectStorage:
    """The storage at a path or an address.

    Raises `OptionError` for an address that cannot be served, and `OutputError` for a file.
    """
    text = str(output)
    scheme, separator, rest = text.partition("://")
    if separator and scheme != "file":
        return ObjectStorage(text)
    folder = Path(rest) if separator else Path(output)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"cannot write {folder}: it is a file; expected a folder for results")
    return FolderStorage(folder)
