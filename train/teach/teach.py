"""From recordings and their annotations to a bundle that was taught with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.training import training_parts
from affectstream.engines.cache.digest import sha256
from affectstream.engines.labels import Modality
from affectstream.engines.manifest import Manifest
from affectstream.stream import Recognizer
from affectstream.stream.batch.plan.find import find_tasks
from affectstream.stream.errors import SourceError
from affectstream.train.annotations.read import check_skipped, read
from affectstream.train.data.reading.clips import sha256_of
from affectstream.train.errors import DataError
from affectstream.train.export.bundle_folder import check_output
from affectstream.train.teach.collect import Collector, Found, check_teachable
from affectstream.train.teach.data.coded import (
    HOW_TO_NAME,
    KIND,
    CodedRecording,
    People,
    match,
    own_categories,
    read_people,
)
from affectstream.train.teach.data.encoder_inputs import EncoderInputs
from affectstream.train.teach.data.hops import Array, Hops, joined
from affectstream.train.teach.fit.choose import Units, units_of
from affectstream.train.teach.fit.correction import Base, Correction, amounts_for, fit
from affectstream.train.teach.fit.encoder_step import EncoderStep, Refitted, enough
from affectstream.train.teach.fit.held_out import HeldOut, Step, held_out
from affectstream.train.teach.result.remarks import remarks_on
from affectstream.train.teach.result.taught_card import TeachingData
from affectstream.train.teach.result.verdict import Comparison, compare, compare_steps
from affectstream.train.teach.result.written import TaughtEncoders, write_bundle
from affectstream.train.teach.settings import (
    Settings,
    check_labels,
    check_names,
    labels_of,
    renamed,
)

if TYPE_CHECKING:
    from affectstream.train.teach.fit.last_layers import LastLayers

__all__ = ["Settings", "Taught", "teach"]
MIN_WINDOWS = 10
"""Coded time that is too short to learn anything from: less than this many windows."""


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """The result of teaching."""

    comparison: Comparison
    lesson: TeachingData
    steps: Mapping[Step, Comparison]
    """The same if no more than this is allowed: recalibrating, the head, the encoders too. What is written is
    chosen on those held in, not by this."""
    encoders: Mapping[Modality, str]
    """What was chosen for each encoder whose last layers were fitted too."""
    correction: Correction
    """Fitted to all that was coded."""
    output: Path | None
    """The folder of the bundle; None if none was written."""
    manifest: Manifest | None
    notes: tuple[str, ...]
    """What was left out, and other things to know."""
    seconds: float


def teach(
    recordings: str | Path | Sequence[str | Path],
    annotations: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    bundle: str | Path = "pocket",
    settings: Settings | None = None,
    write_anyway: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> Taught:
    """Fit the head of `bundle` to coded stretches, and write it into `output` if that helps.

    `recordings` are files, folders or patterns, `annotations` files or folders of them. Whether it helps is
    measured on people (recordings, blocks of time) that were held out. Without `write_anyway` nothing is
    written if it does not. `report` gets a line for each step.

    Raises `DataError` and `DataMissing` for annotations that do not fit, `OptionError` for labels that the
    bundle does not have, `SourceError` for a recording that cannot be used, `BundleError` for a bundle whose
    head cannot be taught, `RunError` if `output` holds something else, `OutputError` if it cannot be written.
    """
    began, settings = time.monotonic(), settings or Settings()
    check_output(Path(output))  # scoring what was coded may take hours
    table = {} if settings.people is None else read_people(settings.people)
    people = People(settings.tracks, table)
    skip = settings.skip_tiers
    sides = [one for path in _listed(annotations) for one in read(Path(path), KIND, skip)]
    check_skipped(skip, sides)
    tasks = find_tasks(_listed(recordings), settings.options)
    files = list(
        dict.fromkeys(task.path for task in tasks)
    )  # a table may name several parts of one
    if missing := [path for path in files if not path.exists()]:
        raise SourceError(f"{missing[0]}: no such file")
    with Recognizer.open(bundle, device=settings.device, threads=settings.threads) as recognizer:
        check_teachable(recognizer.bundle)
        manifest = recognizer.bundle.manifest
        labels = labels_of(manifest, settings)
        check_names(sides, settings)
        used = [renamed(one, settings) for one in sides]
        coded = match(files, used, people, settings.reviewed)
        check_labels(coded, labels, manifest)
        _check_enough(_coded_seconds(coded), manifest, "are coded")
        digests = {one.name: sha256_of(one.path) for one in coded}  # as they are scored
        remarks: list[str] = []
        layers = _last_layers(recognizer.bundle, settings, remarks.append)
        found = _collect(recognizer, coded, labels, settings, layers, report)
        hops = joined([one.hops for one in found])
        usable = len(hops) * manifest.hop_us / 1e6
        _check_enough(usable, manifest, "can be used of what is coded")
        base = Base.of(manifest.calibration, len(labels), manifest.hop_us / manifest.window_us)
        units, window_s = units_of(hops), manifest.window_us / 1e6
        if units.count < 2:
            raise DataError(
                "all that is coded is one stretch of one recording within half a minute: nothing can be held "
                "out to see whether it helps; code more, or another recording"
            )
        level = None if settings.depth == "encoders" else settings.depth
        amounts = amounts_for(len(labels), len(manifest.labels), level)
        encoders = _encoder_step(recognizer.bundle, hops, units, found, layers, remarks.append)
        what = f", with the last layers of {' and '.join(encoders.layers)}" if encoders else ""
        report(f"fitting, with each of {units.count} {_plural(units)} held out in turn{what}")
        with threadpool_limits(1):  # for matrices this small, several threads are slower
            checked = held_out(hops, units, base, amounts, window_s, encoders)
            limits = _limits(hops, manifest)
            named = len(coded) < 2 or any(p.is_named for one in coded for p in one.people)
            comparison = compare(hops, units, checked, limits, named=named)
            steps = compare_steps(hops, units, checked, limits)
            refitted = _refit(encoders, checked, units, window_s)
            taught = hops if refitted is None else hops.with_evidence(refitted.out_of_fold)
            correction = fit(taught, base, checked.amount)
        lesson = _lesson(hops, coded, digests, manifest)
        notes = remarks_on(coded, found, comparison, labels[len(manifest.labels) :]) + remarks
        if others := own_categories(sides):
            notes.append(f"not used, since it is no {KIND}: {others}. {HOW_TO_NAME}")
        sources = {one.source for one in coded}
        if unused := sorted(str(one.path) for one in sides if one.path not in sources):
            notes.append(f"not used, for want of a recording or of labels: {', '.join(unused)}")
        written = None
        if write_anyway or comparison.outcome != "does not help":
            made = None
            if encoders is not None and refitted is not None:
                made = TaughtEncoders(encoders, refitted)
            feeds = [one.feeds for one in found]
            written = write_bundle(
                recognizer.bundle,
                taught,
                correction,
                comparison,
                lesson,
                feeds,
                Path(output),
                steps=steps,
                encoders=made,
            )
    return Taught(
        comparison,
        lesson,
        steps,
        {} if refitted is None else refitted.chosen,
        correction,
        None if written is None else Path(output),
        written,
        tuple(notes),
        time.monotonic() - began,
    )


def _last_layers(
    bundle: Bundle, settings: Settings, note: Callable[[str], None]
) -> dict[Modality, LastLayers]:
    """The encoders whose last layers may be fitted; what stands against it is noted."""
    if settings.depth not in (None, "encoders"):
        return {}
    if not training_parts(bundle.folder, bundle.manifest):
        note(
            "the encoders stay as they are, and the head is fitted to their embeddings: this bundle has no "
            "folder training/ with their networks (docs/reference/bundles.md says how to make it)"
        )
        return {}
    try:
        from affectstream.train.teach.fit.last_layers import find_last_layers
    except ImportError as error:
        note(
            f"the encoders stay as they are: fitting them needs {error.name or 'torch'}: "
            "pip install 'affectstream[train]'"
        )
        return {}
    return find_last_layers(bundle, note)


def _encoder_step(
    bundle: Bundle,
    hops: Hops,
    units: Units,
    found: Sequence[Found],
    layers: Mapping[Modality, LastLayers],
    note: Callable[[str], None],
) -> EncoderStep | None:
    """The encoders of which enough is coded; None if there is none."""
    inputs: dict[Modality, EncoderInputs] = {}
    for modality in layers:
        each = EncoderInputs.joined([one.inputs[modality] for one in found])
        if not each.count:
            continue
        if (why := enough(each.newest >= 0, hops, units, bundle.manifest)) is not None:
            note(f"the {modality} encoder stays as it is: too little is coded to fit it ({why})")
            continue
        inputs[modality] = each
    if not inputs:
        return None
    names = found[0].feeds
    feeds = {name: np.concatenate([one.feeds[name] for one in found]) for name in names}
    return EncoderStep(bundle, hops, feeds, inputs, {m: layers[m] for m in inputs})


def _refit(
    encoders: EncoderStep | None, checked: HeldOut, units: Units, window_s: float
) -> Refitted | None:
    """The encoders fitted to all that was coded, if that was chosen on those held in."""
    if encoders is None or not checked.with_encoders:
        return None
    found = encoders.refit(np.arange(len(encoders.hops)), units, window_s)
    return found if found.weights else None


def _listed(paths: str | Path | Sequence[str | Path]) -> list[str | Path]:
    return [paths] if isinstance(paths, str | Path) else list(paths)


def _collect(
    recognizer: Recognizer,
    coded: Sequence[CodedRecording],
    labels: Sequence[str],
    settings: Settings,
    layers: Mapping[Modality, LastLayers],
    report: Callable[[str], None],
) -> list[Found]:
    collector = Collector(recognizer, labels, settings.options, layers)
    found = []
    for number, one in enumerate(coded, 1):
        began = time.monotonic()
        found.append(collector.collect(one))
        report(
            f"{number} of {len(coded)}: {one.path.name}, {len(found[-1].hops)} coded hops of "
            f"{len(one.people)} ({time.monotonic() - began:.0f} s)"
        )
    return found


def _coded_seconds(coded: Sequence[CodedRecording]) -> float:
    stretches = (s for one in coded for person in one.people for s in person.coding.stretches)
    return sum(stretch.end - stretch.start for stretch in stretches)


def _check_enough(seconds: float, manifest: Manifest, what: str) -> None:
    least = MIN_WINDOWS * manifest.window_us / 1e6
    if seconds < least:
        raise DataError(f"{seconds:g} s {what}: expected {least:g} s or more, better ten minutes")


def _limits(hops: Hops, manifest: Manifest) -> Array:
    """(n,) the confidence that a label needs."""
    least = manifest.calibration.min_confidence
    return np.array([least.get(str(name), 0.0) for name in hops.evidence.sets])


def _lesson(
    hops: Hops, coded: Sequence[CodedRecording], digests: Mapping[str, str], manifest: Manifest
) -> TeachingData:
    """What the usable `hops` are from; `digests` are the SHA-256 of the recordings by name."""
    used = np.unique(hops.recording).tolist()
    counts = np.bincount(hops.truth, minlength=len(hops.labels))
    return TeachingData(
        people=len(np.unique(hops.person)),
        recordings=len(used),
        stretches=sum(len(one.coding.stretches) for each in coded for one in each.people),
        minutes=len(hops) * manifest.hop_us / 60e6,
        counts={label: int(n) for label, n in zip(hops.labels, counts, strict=True) if n},
        annotations={
            str(n): sha256(one.source) for n, one in enumerate(coded, 1) if one.source.is_file()
        },
        recordings_sha256=tuple(sorted(digests[name] for name in used)),
    )


def _plural(units: Units) -> str:
    return {"person": "people", "recording": "recordings", "block": "blocks of time"}[units.by]
