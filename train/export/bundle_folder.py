"""The folder of a bundle that is being written: it appears whole or not at all. Needs no torch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from affectstream.engines.bundle.folder import MANIFEST
from affectstream.engines.cache.digest import sha256
from affectstream.engines.manifest import FilePart, Manifest, encode_manifest
from affectstream.stream.sinks.base import check_writable, writing
from affectstream.train.errors import RunError


@contextmanager
def atomic_bundle(output: Path) -> Iterator[Path]:
    """A new folder to write a bundle into, which becomes `output` if the block succeeds.

    An older bundle in `output` is replaced then, and stays if the block fails. Raises `RunError` at once if
    `output` holds anything else, and `OutputError` if the disk refuses.
    """
    output = output.absolute()
    check_output(output)
    temporary, older = (output.with_name(f".{output.name}.{what}") for what in ("part", "older"))
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with writing(output):
            temporary.mkdir(parents=True)
            yield temporary
            if output.exists():
                # Not deleted first: if the next step fails, the older bundle goes back.
                shutil.rmtree(older, ignore_errors=True)
                output.rename(older)
            try:
                temporary.rename(output)
            except OSError:
                if older.exists():
                    older.rename(output)
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(older, ignore_errors=True)


def check_output(output: Path) -> None:
    """Raise `RunError` if `output` holds anything but a bundle, `OutputError` if it cannot be written."""
    occupied = output.exists() and (not output.is_dir() or any(output.iterdir()))
    if occupied and not (output / MANIFEST).is_file():
        raise RunError(f"{output} holds something that is no bundle: choose another folder")
    check_writable(output)


def copy_licences(source: Path, folder: Path) -> None:
    """Copy `LICENSE.NAME` of each work of others in the bundle `source`: its terms go where it goes."""
    for path in source.glob("LICENSE.*"):
        shutil.copyfile(path, folder / path.name)


def copy_texts(source: Path, folder: Path) -> None:
    """Copy the card and all licences of the bundle `source`, as far as it has them."""
    for name in ("CARD.md", "LICENSE"):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    copy_licences(source, folder)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a bundle's manifest into its `folder`."""
    (folder / MANIFEST).write_bytes(encode_manifest(manifest))


def file_part(folder: Path, name: str) -> FilePart:
    """The entry of a manifest for the file `name` in the bundle's `folder`."""
    return FilePart(name, sha256(folder / name))
