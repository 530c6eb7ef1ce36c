"""Was a run or bundle trained on the samples that shall evaluate it?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from affectstream.engines.bundle.folder import MANIFEST, read_manifest
from affectstream.engines.bundle.training import training_folders
from affectstream.train.data.dataset import read_info
from affectstream.train.errors import RunError
from affectstream.train.fit.checkpoint import dataset_of
from affectstream.train.fit.warm_start import read_run_or_bundle


def check_unseen(folder: Path, data: Path, split: str | None = None) -> None:
    """Raise `RunError` if the run or bundle in `folder`, or a member of it, was trained on the samples of
    `split` of `data`, or on any samples of it under other splits.

    A network whose files do not name its training data passes, as `pocket` does in the package.
    """
    info = read_info(data)
    for name, source in _training_data(folder):
        same_samples = source.get("content_sha256") == info.content_sha256
        if same_samples and source.get("split_sha256") != info.split_sha256:
            raise RunError(
                f"{name} was trained on these samples under other splits, and may have learned from those "
                "that would evaluate it: give the data set that it was trained on"
            )
        if same_samples and split == "train":
            raise RunError(
                f"{name} was trained on split train of this data set: figures on these samples say nothing "
                "about others; give --split valid or test"
            )


def was_trained_on(folder: Path, data: Path) -> bool:
    """Whether split train of `data` is known to have trained the run or bundle in `folder`, or a member."""
    info = read_info(data)
    return any(
        source.get("content_sha256") == info.content_sha256 for _, source in _training_data(folder)
    )


def _training_data(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The training data of what is in `folder` and of its members, each with a name for messages."""
    saved = read_run_or_bundle(folder)
    yield str(folder), dataset_of(saved)
    for part in training_folders(folder):
        yield str(part), dataset_of(read_run_or_bundle(part))
    members = {
        member["name"]: Path(member["folder"])
        for member in (saved.get("setting") or {}).get("members", ())
    }
    if (folder / MANIFEST).is_file():
        members |= {name: folder / name for name in read_manifest(folder).members}
    for name, place in members.items():
        for _, source in _training_data(place):
            yield f"member {name!r} of {folder}", source
