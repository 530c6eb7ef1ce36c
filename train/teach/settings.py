"""How to teach, and the labels that this asks for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from affectstream.engines.bundle.folder import is_label
from affectstream.engines.manifest import Manifest
from affectstream.stream import SourceOptions
from affectstream.stream.errors import OptionError
from affectstream.stream.results.readings import table_schema
from affectstream.train.annotations.annotations import Annotations, Coding, Stretch
from affectstream.train.errors import DataError
from affectstream.train.teach.data.coded import KIND, CodedRecording, in_stretches, labels_in
from affectstream.train.teach.fit.correction import Level


@dataclass(frozen=True, slots=True)
class Settings:
    """How to teach."""

    tracks: Mapping[str, int] = field(default_factory=dict)
    """Which track a name in the annotations is."""
    people: Path | None = None
    """A table ``recording,person`` (and ``track``) of who is in which recording."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Labels that count as another, such as bored as neutral."""
    skip_tiers: tuple[str, ...] = ()
    """Names of tiers, or of subjects of a table, that are left out."""
    new_labels: tuple[str, ...] = ()
    """Labels that the bundle does not have and shall learn."""
    leave_out: tuple[str, ...] = ()
    """Labels whose stretches are not used."""
    reviewed: tuple[float, float] = (0.0, np.inf)
    """The seconds that a person has coded."""
    depth: Level | Literal["encoders"] | None = None
    """Change no more than this: ``calibration``, ``fusion``, ``embeddings`` or ``encoders``; None: what helps
    most."""
    options: SourceOptions = field(default_factory=SourceOptions)
    """How the recordings are scored: as for the results that were corrected."""
    device: str = "auto"
    threads: int | None = None


def labels_of(manifest: Manifest, settings: Settings) -> tuple[str, ...]:
    """The labels of the bundle and the new ones. Raises `OptionError` for a name that cannot be one."""
    for label in settings.new_labels:
        if label in manifest.labels:
            raise OptionError(f"--new-label {label}: bundle {manifest.name!r} has it already")
        if not is_label(label) or label in table_schema(()).names:
            raise OptionError(
                f"--new-label {label!r}: expected a word of a-z, 0-9, _ and -, and no column of the "
                "results"
            )
    for old, new in settings.rename.items():
        if new not in (*manifest.labels, *settings.new_labels):
            raise OptionError(
                f"--rename {old}={new}: {new!r} is no label of bundle {manifest.name!r}; expected one of "
                f"{', '.join(manifest.labels)}, or a --new-label"
            )
    return (*manifest.labels, *dict.fromkeys(settings.new_labels))


def check_names(sides: Sequence[Annotations], settings: Settings) -> None:
    """Raise `OptionError` for a label or a person in the options that no annotation has, and for an end that
    is not after its start."""
    start, end = settings.reviewed
    if start >= end:
        raise OptionError(f"--start {start:g} --end {end:g}: expected an end after the start")
    codings = [coding for one in sides for coding in one.codings if coding.kind == KIND]
    labels = {stretch.label for coding in codings for stretch in coding.stretches}
    persons = {coding.person for coding in codings if coding.person is not None}
    for option, names, used in (
        ("--rename", labels, settings.rename),
        ("--leave-out", labels, settings.leave_out),
        ("--person", persons, settings.tracks),
    ):
        for name in used:
            if codings and name not in names:
                there = ", ".join(sorted(names)) or "nobody"
                raise OptionError(
                    f"{option} {name}: the annotations have no {name!r}; they have {there}"
                )


def renamed(one: Annotations, settings: Settings) -> Annotations:
    """The annotations with labels renamed, and without those that are left out."""

    def changed(coding: Coding) -> Coding:
        stretches = tuple(
            Stretch(start, end, settings.rename.get(label, label))
            for start, end, label in coding.stretches
            if label not in settings.leave_out
        )
        return replace(coding, stretches=stretches)

    codings = tuple(changed(coding) if coding.kind == KIND else coding for coding in one.codings)
    return replace(one, codings=tuple(coding for coding in codings if coding.stretches))


def check_labels(
    coded: Sequence[CodedRecording], labels: Collection[str], manifest: Manifest
) -> None:
    """Raise `OptionError` for coded labels that are not among `labels`, `DataError` for one label alone."""
    counts = labels_in(coded)
    if unknown := [label for label in counts if label not in labels]:
        names = in_stretches({label: counts[label] for label in unknown})
        first = sorted(unknown)[0]
        raise OptionError(
            f"bundle {manifest.name!r} does not know {names}; it knows {', '.join(manifest.labels)}. Count a "
            f"label as another with --rename '{first}=neutral', leave it out with --leave-out '{first}', or "
            f"let the bundle learn it with --new-label '{first}'"
        )
    if missing := [label for label in labels if label not in (*manifest.labels, *counts)]:
        raise OptionError(f"--new-label {missing[0]}: no stretch has this label")
    if len(counts) < 2:
        raise DataError(
            f"everything is coded as {next(iter(counts))!r}: expected two labels or more, also stretches in "
            "which somebody is neutral"
        )
