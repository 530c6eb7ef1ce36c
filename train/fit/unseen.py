"""Was a run or bundle trained on the samples that shall evaluate it?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from affectstream.engines.bundle.folder import MANIFEST, read_manifest
from affectstream.engines.bundle.training import training_folders
from affectstream.train.data.dataset import Dataset, read_info
from affectstream.train.data.sample import SPLITS, UNSEEN
from affectstream.train.data.sketch import fingerprints, share_in
from affectstream.train.errors import RunError
from affectstream.train.fit.checkpoint import dataset_of
from affectstream.train.fit.warm_start import read_run_or_bundle

REFUSED_SHARE = 0.05
"""So many samples may be copies of training ones: FER2013 holds some of its pictures in two splits."""


def check_unseen(folder: Path, data: Path, split: str | None = None) -> None:
    """Raise `RunError` if the run or bundle in `folder`, or a member of it, was trained on the samples of
    `split` of `data`, or on any samples of it under other splits; without `split`, on those of valid or test.

    A network whose files do not name its training data passes. Those of earlier versions have no sketch of
    their samples and are found only by the hash of a whole data set.
    """
    info = read_info(data)
    for name, source in _training_data(folder):
        same_samples = source.get("content_sha256") == info.content_sha256
        if same_samples and source.get("split_sha256") != info.split_sha256:
            raise RunError(
                f"{name} was trained on these samples under other splits, and may have learned from those "
                "that would evaluate it: give the data set that it was trained on"
            )
        if same_samples and split != "train":
            continue
        share = 1.0 if same_samples else _share(source, data, (split,) if split else UNSEEN)
        if share > REFUSED_SHARE:
            raise RunError(
                f"{name} was trained on {_percent(share)} of split {split or 'valid or test'} of "
                f"{data}: figures on these samples say nothing about others; give samples that it has "
                "not seen, such as --split valid or test of the data set that it was trained on"
            )


def was_trained_on(folder: Path, data: Path) -> bool:
    """Whether samples of `data` are known to have trained the run or bundle in `folder`, or a member."""
    info = read_info(data)
    return any(
        source.get("content_sha256") == info.content_sha256
        or _share(source, data, SPLITS) > REFUSED_SHARE
        for _, source in _training_data(folder)
    )


def _share(source: Mapping[str, Any], data: Path, splits: Sequence[str]) -> float:
    """Share of the samples of these `splits` of `data` that are among those that trained."""
    if not source.get("samples"):
        return 0.0
    rows = np.flatnonzero(np.isin(Dataset(data, large=()).column("split").astype(str), splits))
    return share_in(source["samples"], fingerprints(data, rows))


def _percent(share: float) -> str:
    return "all" if share == 1 else f"about {share:.0%}"


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
