"""The bundle of a taught head: the files of the old bundle, a new head, a manifest and a card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from msgspec import UNSET, structs

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import MANIFEST, file_parts
from affectstream.engines.bundle.shapes import ENCODER_ROLES
from affectstream.engines.bundle.taught import TAUGHT, taught_with
from affectstream.engines.bundle.training import copy_training
from affectstream.engines.cache.digest import sha256
from affectstream.engines.devices.open import open_engine
from affectstream.engines.labels import MODALITIES, Modality, subsets
from affectstream.engines.manifest import Calibration, Manifest, Measurement, Role
from affectstream.engines.models.registry import part_path
from affectstream.train.errors import ParityError
from affectstream.train.export import card
from affectstream.train.export.bundle_folder import (
    atomic_bundle,
    copy_licences,
    file_part,
    write_manifest,
)
from affectstream.train.files import encode_json
from affectstream.train.teach.data.evidence import Feeds, evidence_of, pooling
from affectstream.train.teach.data.hops import Hops
from affectstream.train.teach.fit.correction import LEAST_PRIOR, Correction
from affectstream.train.teach.fit.encoder_step import EncoderStep, Refitted
from affectstream.train.teach.fit.held_out import Step
from affectstream.train.teach.result.head_graph import write_taught_head
from affectstream.train.teach.result.taught_card import TeachingData, taught_card
from affectstream.train.teach.result.verdict import Comparison
from affectstream.train.teach.result.written_encoders import write_encoders

FUSION = "fusion.onnx"
CHECKED = 64
"""Hops of each recording on which the new head is checked."""
TOLERANCE = 1e-3
"""Largest difference between the graph's logits and those of the correction."""


@dataclass(frozen=True, slots=True, eq=False)
class TaughtEncoders:
    """The encoders whose last layers were fitted to all that was coded."""

    step: EncoderStep
    refitted: Refitted

    @property
    def roles(self) -> tuple[Role, ...]:
        """Their roles in the bundle."""
        return tuple(ENCODER_ROLES[modality] for modality in self.refitted.weights)


def write_bundle(
    base: Bundle,
    hops: Hops,
    correction: Correction,
    comparison: Comparison,
    lesson: TeachingData,
    feeds: Sequence[Feeds],
    output: Path,
    *,
    steps: Mapping[Step, Comparison] | None = None,
    encoders: TaughtEncoders | None = None,
) -> Manifest:
    """Write the taught bundle into `output`; an older bundle there is replaced.

    `hops` are those that the `correction` was fitted to, and `feeds` what the old head took of them.

    Raises `RunError` if `output` holds anything else, `OutputError` where the disk refuses, `ParityError` if
    the graph does not give what was fitted.
    """
    manifest, folder = base.manifest, base.folder
    temperatures = new_temperatures(manifest, correction)
    roles = () if encoders is None else encoders.roles
    own_engines = (manifest.engines.fusion, *(getattr(manifest.engines, role) for role in roles))
    with atomic_bundle(output) as made:
        for part in file_parts(manifest):
            if part.model is UNSET and part not in own_engines:
                shutil.copyfile(part_path(folder, part), made / part.file)
        engines = manifest.engines
        if encoders is not None:
            engines = write_encoders(encoders.step, encoders.refitted, engines, made)
        head = part_path(folder, manifest.engines.fusion)
        if correction.amount.level in ("none", "calibration"):
            shutil.copyfile(head, made / FUSION)
        else:
            weights = {m: pooling(base, m) for m in hops.evidence.modalities}
            write_taught_head(head, correction, temperatures, weights, made / FUSION)
            _check(base, made / FUSION, correction, temperatures, feeds)
        own = _manifest(
            manifest, output.name, correction, temperatures, hops, comparison, lesson, roles
        )
        own = structs.replace(own, engines=structs.replace(engines, fusion=file_part(made, FUSION)))
        write_manifest(made, own)
        copy_training(folder, manifest, made, own)
        before = taught_with(folder)
        document = {
            "base": {
                "name": manifest.name,
                "version": manifest.version,
                "sha256": sha256(folder / MANIFEST),
                "taught_with": before.count,
                "recordings_sha256": sorted(before.files),
            },
            "amount": str(correction.amount),
            "lesson": asdict(lesson),
            "encoders": {} if encoders is None else dict(encoders.refitted.chosen),
            "comparison": asdict(comparison),
            "steps": {step: asdict(one) for step, one in (steps or {}).items()},
        }
        (made / TAUGHT).write_bytes(encode_json(document))
        copy_licences(folder, made)
        licence = (folder / "LICENSE").read_text("utf-8") if (folder / "LICENSE").is_file() else ""
        card.write_texts(
            made,
            taught_card(
                own,
                manifest,
                correction,
                comparison,
                lesson,
                sha256(folder / MANIFEST),
                steps or {},
                roles,
            ),
            [licence.strip() or f"Use these weights only as {manifest.licences.weights} allows."],
        )
        with Bundle.open(made):
            pass
    return own


def new_temperatures(manifest: Manifest, correction: Correction) -> dict[str, float]:
    """The temperature of every set of modalities of a bundle; those that were not coded
    keep theirs."""
    taken = [m for m in MODALITIES if getattr(manifest.engines, ENCODER_ROLES[m]) is not None]
    found = {}
    for name in map("+".join, subsets(taken)):
        old = manifest.calibration.temperature.get(name, 1.0)
        found[name] = round(old / correction.factor(name), 6)
    return found


def _check(
    base: Bundle,
    graph: Path,
    correction: Correction,
    temperatures: Mapping[str, float],
    feeds: Sequence[Feeds],
) -> None:
    """Compare the graph with the fitted numbers on hops of every recording."""
    with open_engine(graph, "cpu") as taught:
        for every in feeds:
            rows = len(next(iter(every.values())))
            picked = np.linspace(0, rows - 1, min(CHECKED, rows)).astype(int)
            own = {name: array[picked] for name, array in every.items()}
            old = base.engines["fusion"].run(own)["logits"]
            new = taught.run(own)["logits"]
            part = evidence_of(base, own, old)
            scale = np.array([temperatures[str(name)] for name in part.sets])
            expected = correction.added(part) * scale[:, None]
            expected[:, : old.shape[1]] += old
            difference = float(np.abs(new - expected).max())
            if difference > TOLERANCE * max(1.0, float(np.abs(expected).max())):
                raise ParityError(
                    f"the graph of the taught head differs by {difference:.2g} from what was fitted: please "
                    "report this with the bundle"
                )


def _manifest(
    base: Manifest,
    name: str,
    correction: Correction,
    temperatures: Mapping[str, float],
    hops: Hops,
    comparison: Comparison,
    lesson: TeachingData,
    refitted: Sequence[Role],
) -> Manifest:
    prior = np.exp(correction.base.log_prior + correction.bias)
    prior = np.maximum(prior / prior.sum(), LEAST_PRIOR)
    kept = {"face_detector", "face_geometry", *ENCODER_ROLES.values()} - set(refitted)
    by = {"person": "people", "recording": "recordings", "block": "blocks of time"}[comparison.by]
    results = tuple(
        Measurement("taught", f"{by} held out", metric, round(value.value, 4), comparison.hops)
        for metric, value in comparison.after.items()
        if np.isfinite(value.value)
    )
    return structs.replace(
        base,
        name=_plain(name),
        summary=f"{base.name} {base.version}, taught with {lesson.minutes:.1f} minutes of coding "
        f"of {lesson.people} people.",
        labels=hops.labels,
        calibration=Calibration(
            prior=tuple(round(float(p), 6) for p in prior / prior.sum()),
            temperature=dict(temperatures),
            min_confidence=dict(base.calibration.min_confidence),
            conflict=dict(base.calibration.conflict),
            neutral=_neutral(base, correction, temperatures, hops, refitted),
        ),
        licences=structs.replace(
            base.licences, data=f"{base.licences.data}; taught: the coding of its user"
        ),
        results=(*(r for r in base.results if r.part in kept), *results),
    )


def _plain(name: str) -> str:
    plain = "".join(c if c.isalnum() or c in "_.-" else "_" for c in name).lstrip(".-")
    return plain or "taught"


def _neutral(
    base: Manifest,
    correction: Correction,
    temperatures: Mapping[str, float],
    hops: Hops,
    refitted: Sequence[Role],
) -> dict[Modality, tuple[float, ...]]:
    """The new head's logits of neutral faces and of neutral voices: the old one's, and what is added."""
    names = list(hops.labels)
    if "neutral" not in names:
        return {}
    found: dict[Modality, tuple[float, ...]] = {}
    for m, old in base.calibration.neutral.items():
        neutral = hops.evidence.present[m] & (hops.truth == names.index("neutral"))
        values = np.zeros(len(names))
        values[: len(old)] = old
        if ENCODER_ROLES[m] in refitted:
            if not neutral.any():
                continue  # no neutral hop went through the new encoder
            values[: len(old)] = hops.evidence.alone[m][neutral].mean(0)
        changed = values + temperatures[m] * (
            correction.gain.get(m, 0.0) * values + correction.offset.get(m, 0.0)
        )
        if m in correction.matrix:
            if not neutral.any():
                continue  # no neutral embedding is known
            changed += temperatures[m] * (
                hops.evidence.embeddings[m][neutral].mean(0) @ correction.matrix[m]
            )
        found[m] = tuple(round(float(v), 4) for v in changed)
    return found
