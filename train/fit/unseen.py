"""Was a run or bundle trained on the samples that shall evaluate it?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from affectstream.engines.bundle.folder import MANIFEST, read_manifest
from affectstream.engines.bundle.taught import TaughtWith, taught_with
from affectstream.engines.bundle.training import training_folders
from affectstream.train.data.dataset import Dataset, read_info
from affectstream.train.data.sample import SPLITS, UNSEEN
from affectstream.train.data.sketch import Fingerprints, fingerprints, share_in
from affectstream.train.errors import RunError
from affectstream.train.fit.checkpoint import dataset_of
from affectstream.train.fit.taught import TaughtSamples, taught_samples
from affectstream.train.fit.warm_start import read_run_or_bundle

REFUSED_SHARE = 0.05
"""So many samples may be copies of training ones: FER2013 holds some of its pictures in two splits."""


def check_unseen(folder: Path, data: Path, split: str | None = None) -> None:
    """Raise `RunError` if the run or bundle in `folder`, or a member of it, was trained on the samples of
    `split` of `data`, or on any samples of it under other splits; without `split`, on those of valid or test.

    Coded recordings that taught a bundle are found among those of any split, however few. A network whose
    files do not name its training data passes. Those of earlier versions have no sketch of their samples and
    are found only by the hash of a whole data set.
    """
    info, splits = read_info(data), (split,) if split else UNSEEN
    networks = _networks(folder)
    for name, _, taught in networks:
        taught_samples(taught, data, splits).check(name, data)
    share_in_them = _share_of(data, splits)
    for name, source, _ in networks:
        same_samples = source.get("content_sha256") == info.content_sha256
        if same_samples and source.get("split_sha256") != info.split_sha256:
            raise RunError(
                f"{name} was trained on these samples under other splits, and may have learned from those "
                "that would evaluate it: give the data set that it was trained on"
            )
        if same_samples and split != "train":
            continue
        share = 1.0 if same_samples else share_in_them(source)
        if share > REFUSED_SHARE:
            raise RunError(
                f"{name} was trained on {_percent(share)} of split {split or 'valid or test'} of "
                f"{data}: figures on these samples say nothing about others; give samples that it has "
                "not seen, such as --split valid or test of the data set that it was trained on"
            )


def was_trained_on(folder: Path, data: Path) -> bool:
    """Whether samples of `data` are known to have trained the run or bundle in `folder`, or a member."""
    info, share, networks = read_info(data), _share_of(data, SPLITS), _networks(folder)
    if any(taught_samples(taught, data, SPLITS).found for _, _, taught in networks):
        return True
    return any(
        source.get("content_sha256") == info.content_sha256 or share(source) > REFUSED_SHARE
        for _, source, _ in networks
    )


def _share_of(data: Path, splits: Sequence[str]) -> Callable[[Mapping[str, Any]], float]:
    """The share of the samples of these `splits` of `data` that are among those that trained a network, from
    its training data. The samples are read once, and only if a network has a sketch."""

    @cache
    def found() -> Fingerprints:
        rows = np.flatnonzero(np.isin(Dataset(data, large=()).column("split").astype(str), splits))
        return fingerprints(data, rows)

    def share(source: Mapping[str, Any]) -> float:
        sketched = source.get("samples")
        return share_in(sketched, found()) if sketched else 0.0

    return share


def _percent(share: float) -> str:
    return "all" if share == 1 else f"about {share:.0%}"


def taught_samples_of(folder: Path, data: Path, split: str) -> TaughtSamples:
    """What is known of the samples of `split` that may be from the coded recordings that taught the run or
    bundle in `folder`, or a member of it."""
    taught = TaughtWith()
    for one in _networks(folder):
        taught |= one.taught
    return taught_samples(taught, data, (split,))


class _Network(NamedTuple):
    """A run, a bundle, a part of its `training/`, or one of a member."""

    name: str
    """For messages."""
    source: Mapping[str, Any]
    """The data set that trained it, as `dataset_of` gives it."""
    taught: TaughtWith


def _networks(folder: Path) -> list[_Network]:
    """What is in `folder` and its members. Each file is read once: a checkpoint holds all weights."""
    saved = read_run_or_bundle(folder)
    found = [_Network(str(folder), dataset_of(saved), taught_with(folder))]
    for part in training_folders(folder):
        found.append(_Network(str(part), dataset_of(read_run_or_bundle(part)), TaughtWith()))
    members = {
        member["name"]: Path(member["folder"])
        for member in (saved.get("setting") or {}).get("members", ())
    }
    if (folder / MANIFEST).is_file():
        members |= {name: folder / name for name in read_manifest(folder).members}
    for name, place in members.items():
        found += [one._replace(name=f"member {name!r} of {folder}") for one in _networks(place)]
    return found
