"""From the run of one recipe to a bundle: export, calibrate, measure, check, put in place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from affectstream.engines.bundle.bundle import MANIFEST, POCKET, Bundle, read_manifest
from affectstream.engines.cache.digest import sha256
from affectstream.engines.manifest import (
    FORMAT,
    Calibration,
    Engines,
    FaceCrop,
    FilePart,
    Licences,
    Manifest,
    Measured,
    TextPart,
    encode,
)
from affectstream.train.calibration import Calibrated, calibrate
from affectstream.train.errors import RunError
from affectstream.train.export import card as net_card
from affectstream.train.export.atomic_dir import placed
from affectstream.train.fit.checkpoint import Trained, load_run
from affectstream.train.fit.warm_start import write_warm_start
from affectstream.train.graphs.engine_files import FUSION, TOKENIZER, export
from affectstream.train.loader.batches import ValidBatches
from affectstream.train.loader.samples import Samples, open_for, usable_rows
from affectstream.train.model_spec import ModelSpec
from affectstream.train.networks.network import Network
from affectstream.train.predict.bundle_outputs import BundleOutputs, bundle_outputs
from affectstream.train.predict.prepared import measured, table
from affectstream.train.recipes.net_recipe import NetRecipe
from affectstream.train.tasks import Task

WINDOW_US, HOP_US, FRAME_HZ = 3_000_000, 500_000, 8
"""Of `pocket`."""
_DETECTOR = "face_detector.onnx"
_FOUND = ("face", "person")
"""Kinds of crops for which a face has to be found."""
_WORDS = {"video": "pictures", "voice": "sound", "text": "words"}


def file_part(folder: Path, name: str) -> FilePart:
    """What a manifest says of the file `name` in the bundle's `folder`."""
    return FilePart(name, sha256(folder / name))


def assemble(
    recipe: NetRecipe,
    data: Path,
    runs: Path,
    output: Path,
    *,
    weights: bool = True,
    report: Callable[[str], None] = print,
) -> None:
    """Write the bundle of the run ``runs/<recipe>`` into `output`, once everything is checked.

    An older bundle there is replaced. `weights` says whether it carries what a later run can start from.
    Raises `RunError` for a run that is missing or was trained on other data than `data` holds, and for an
    `output` that holds something else; `DataMissing` or `DataError` for absent data, `OutputError` where
    the disk refuses, `ParityError` when an exported graph differs from its module.
    """
    trained = load_run(recipe, runs / recipe.name)
    made, network = trained.recipe, trained.module
    assert isinstance(made, NetRecipe) and isinstance(network, Network)
    samples = _valid(made, data)
    with placed(output) as folder:
        export(network, made.fixed, folder)
        write_warm_start(network, made.name, made.setting(), folder, weights=weights)
        _fill(folder, trained, made, samples, report)


def _valid(made: NetRecipe, data: Path) -> Samples:
    """Split valid of the data set that the run was trained on. Raises `RunError` for any other."""
    fixed, dataset = made.fixed, open_for(data, made.modalities)
    hashes = ("content_sha256", "split_sha256")
    if different := [n for n in hashes if getattr(dataset.info, n) != getattr(fixed.data, n)]:
        raise RunError(
            f"{data} is not what {made.name!r} was trained on ({', '.join(different)} differ): "
            "give the same data set"
        )
    rows = usable_rows(dataset, "valid", made.modalities, [task.name for task in fixed.tasks])
    return Samples(dataset, rows, fixed.view, fixed.tasks)


def _fill(
    folder: Path,
    trained: Trained,
    made: NetRecipe,
    samples: Samples,
    report: Callable[[str], None],
) -> None:
    """Write manifest, card and licence, all by what the engine files in `folder` say."""
    fixed, labels = made.fixed, labels_of(made.fixed)
    if fixed.crop in _FOUND:
        shutil.copyfile(POCKET / _DETECTOR, folder / _DETECTOR)
    plain = Calibration(prior=prior_of(fixed), temperature={}, min_confidence={})
    (folder / MANIFEST).write_bytes(encode(_manifest(folder, made, labels, plain, ())))
    with Bundle.open(folder) as bundle:
        found = bundle_outputs(bundle, ValidBatches(samples), missing=True)
    emotion = fixed.task("emotion")
    calibrated = {} if emotion is None else temperatures(found, samples, emotion, plain.prior)
    for name, part in calibrated.items():
        report(
            f"calibrated {name}: temperature {part.temperature}, threshold {part.min_confidence}, "
            f"ECE {part.ece:.3f}"
        )
    calibration = Calibration(
        prior=plain.prior,
        temperature={name: part.temperature for name, part in calibrated.items()},
        min_confidence={name: part.min_confidence for name, part in calibrated.items()},
    )
    results = measured(found, samples, fixed.tasks, calibration, f"{fixed.data.name} valid")
    manifest = _manifest(folder, made, labels, calibration, results)
    (folder / MANIFEST).write_bytes(encode(manifest))
    by_class = table(found[None], samples, fixed.tasks, calibration)
    for name, text in net_card.write(manifest, trained, fixed, calibrated, by_class).items():
        (folder / name).write_text(text, encoding="utf-8")
    with Bundle.open(folder):
        pass
    for row in results:
        report(f"{row.part} {row.data} {row.metric} {row.value}")


def labels_of(fixed: ModelSpec) -> tuple[str, ...]:
    """The emotions that the bundle names, in the order of its columns; none without such a task."""
    told = fixed.task("emotion") or fixed.task("emotion_multilabel")
    return () if told is None else told.labels


def prior_of(fixed: ModelSpec) -> tuple[float, ...]:
    """The emotions' shares of split train, assumed in use; alike where there are amounts alone."""
    emotion, labels = fixed.task("emotion"), labels_of(fixed)
    counts = np.ones(len(labels)) if emotion is None else np.asarray(emotion.counts, np.float64)
    return tuple(round(float(p), 6) for p in counts / counts.sum())


def temperatures(
    found: Mapping[tuple[str, ...] | None, BundleOutputs],
    samples: Samples,
    emotion: Task,
    prior: tuple[float, ...],
) -> dict[str, Calibrated]:
    """Temperature and threshold of each set of modalities."""
    calibrated = {}
    for subset, said in found.items():
        labels = samples.truth[emotion.name][said.samples].numpy()
        known = labels >= 0
        if subset is not None and known.any():
            logits = said.outputs["logits"][known].astype(np.float64)
            calibrated["+".join(subset)] = calibrate(logits, labels[known], np.asarray(prior))
    return calibrated


def _manifest(
    folder: Path,
    made: NetRecipe,
    labels: tuple[str, ...],
    calibration: Calibration,
    results: tuple[Measured, ...],
) -> Manifest:
    fixed, view = made.fixed, made.fixed.view
    seen, heard, read = (name in view.modalities for name in ("video", "voice", "text"))
    detector = read_manifest(POCKET).engines.face_detector if fixed.crop in _FOUND else None
    text = None
    if read:
        part = file_part(folder, "text_encoder.onnx")
        text = TextPart(
            part.file,
            part.sha256,
            file_part(folder, TOKENIZER),
            max_tokens=view.tokens,
            context=view.context,
        )
    return Manifest(
        format=FORMAT,
        name=made.name,
        version="0.1.0",
        summary=(
            f"{' and '.join(_WORDS[name] for name in view.modalities)} by the recipe {made.name}, "
            f"learned from {fixed.data.name}."
        ).capitalize(),
        labels=labels,
        window_us=view.window_us,
        hop_us=fixed.hop_us,
        frame_hz=view.frame_hz,
        engines=Engines(
            fusion=file_part(folder, FUSION),
            face_detector=detector,
            face_encoder=file_part(folder, "face_encoder.onnx") if seen else None,
            voice_encoder=file_part(folder, "voice_encoder.onnx") if heard else None,
            text_encoder=text,
        ),
        calibration=calibration,
        licences=Licences(
            code="MIT",
            data=f"{fixed.data.source}: {fixed.data.licence}",
            weights=net_card.licence_of_weights(fixed),
        ),
        crop=_crop(fixed) if seen else None,
        languages=fixed.data.languages if read else (),
        metadata=view.metadata,  # type: ignore[arg-type]  # all are facts
        results=results,
    )


def _crop(fixed: ModelSpec) -> FaceCrop:
    return FaceCrop(
        size=fixed.view.size,
        template=fixed.template,
        kind=fixed.crop or "frame",  # type: ignore[arg-type]  # one of the manifest's
        tone=fixed.view.tone,
    )
