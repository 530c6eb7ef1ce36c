"""From the run of one recipe to a bundle: export, calibrate, measure, check, put in place."""

from __future__ import annotations

import shutil
from pathlib import Path

from affectstream.engines.bundle.folder import POCKET, read_manifest
from affectstream.engines.bundle.shapes import ENCODER_ROLES
from affectstream.engines.manifest import (
    FACE_ROLES,
    FORMAT,
    Calibration,
    Engines,
    FaceCrop,
    FilePart,
    Licenses,
    Manifest,
    TextPart,
)
from affectstream.stream.errors import OptionError
from affectstream.train.calibration import COVERAGE, EVEN
from affectstream.train.export import card, steps
from affectstream.train.export.bundle_folder import (
    atomic_bundle,
    copy_licences,
    file_part,
    write_manifest,
)
from affectstream.train.fit.checkpoint import Trained, fit_record, load_run
from affectstream.train.fit.loggers import Report
from affectstream.train.fit.warm_start import write_warm_start
from affectstream.train.model_spec import ModelSpec
from affectstream.train.networks.network import Network
from affectstream.train.networks.pretrained import NONE
from affectstream.train.networks.sequences import set_half_life
from affectstream.train.onnx.engine_files import FUSION, TOKENIZER
from affectstream.train.recipe import count_parameters
from affectstream.train.recipes.net_recipe import NetRecipe
from affectstream.train.tasks import Task

_WORDS = {"video": "pictures", "voice": "sound", "text": "words"}


def assemble(
    recipe: NetRecipe,
    data: Path,
    runs: Path,
    output: Path,
    *,
    weights: bool = True,
    half_life_s: float | None = None,
    report: Report = print,
) -> None:
    """Write the bundle of the run ``runs/<recipe>`` into `output`, replacing an older bundle there.

    With `weights` the bundle carries what a later run can start from. `half_life_s` makes the newest frames
    of a window count most, see `MeanPool`. Raises `OptionError` for a recipe without such a pool,
    `RunError` for a run that is missing or was trained on other data than `data`, and for an `output` that
    holds something else; `DataMissing` or `DataError` for absent data, `OutputError` if the disk refuses,
    `ParityError` if an exported graph differs from its module.
    """
    trained = load_run(recipe, runs / recipe.name)
    bound, network = trained.recipe, trained.module
    assert isinstance(bound, NetRecipe) and isinstance(network, Network)
    spec = bound.spec
    steps.check_trained_on(spec.data, data, bound.name)
    half_life = None if half_life_s is None else half_life_s * spec.window.frame_hz
    if half_life is not None and not set_half_life(network.head, half_life):
        raise OptionError(
            f"--half-life means nothing for {bound.name}: its head takes no mean of the frames"
        )
    with atomic_bundle(output) as folder:
        _write_engines(bound, network, folder)
        setting = bound.spec_dict()
        write_warm_start(
            network,
            bound.name,
            setting,
            folder,
            weights=weights,
            half_life=half_life,
            record=fit_record(runs / recipe.name),
        )
        manifest = _manifest(folder, bound.name, spec)
        exported = steps.calibrate_and_measure(folder, manifest, data, report)
        card.write_texts(
            folder, _card(exported, trained, spec, half_life_s), _licence(bound.name, spec)
        )
        steps.check_opens(folder, exported.manifest, report)


def write_uncalibrated(bound: NetRecipe, network: Network, folder: Path) -> None:
    """Write the engines of the `network` of a bound recipe into an empty `folder`, with a manifest that does
    not calibrate them: enough to measure what calibration does not change. Raises `ParityError`."""
    _write_engines(bound, network, folder)
    write_manifest(folder, _manifest(folder, bound.name, bound.spec))


def _write_engines(bound: NetRecipe, network: Network, folder: Path) -> None:
    """The engines of a network, and those of `pocket` that find the faces it takes."""
    bound.export(network, folder)
    if _needs_detector(bound.spec):
        for part in _face_engines().values():
            shutil.copyfile(POCKET / part.file, folder / part.file)
        copy_licences(POCKET, folder)


def _needs_detector(spec: ModelSpec) -> bool:
    """Whether the pictures are cropped around a face that has to be detected."""
    return spec.crop in ("face", "person")


def _face_engines() -> dict[str, FilePart]:
    """The engines of `pocket` that find faces and measure them, by role."""
    engines = read_manifest(POCKET).engines
    return {role: part for role in FACE_ROLES if (part := getattr(engines, role)) is not None}


def _emotions(spec: ModelSpec) -> Task:
    """The task whose labels are those of the bundle; it has none if no task is about emotions."""
    return spec.task("emotion") or spec.task("emotion_multilabel") or Task("emotion")


def _manifest(folder: Path, name: str, spec: ModelSpec) -> Manifest:
    """The manifest before calibration; the prior of the training set is assumed in use."""
    window, emotions = spec.window, _emotions(spec)
    encoders = {
        role: file_part(folder, f"{role}.onnx")
        for modality, role in ENCODER_ROLES.items()
        if modality in window.modalities
    }
    if (part := encoders.get("text_encoder")) is not None:
        tokenizer = file_part(folder, TOKENIZER)
        encoders["text_encoder"] = TextPart(
            part.file, part.sha256, tokenizer, max_tokens=window.tokens, context=window.context
        )
    return Manifest(
        format=FORMAT,
        name=name,
        version="0.1.0",
        summary=(
            f"{' and '.join(_WORDS[m] for m in window.modalities)} by the recipe {name}, "
            f"learned from {spec.data.name}."
        ).capitalize(),
        labels=emotions.labels,
        window_us=window.window_us,
        hop_us=spec.hop_us,
        frame_hz=window.frame_hz,
        engines=Engines(
            fusion=file_part(folder, FUSION),
            **(_face_engines() if _needs_detector(spec) else {}),  # type: ignore[arg-type]
            **encoders,  # type: ignore[arg-type]
        ),
        calibration=Calibration(emotions.prior, {}, {}),
        licences=Licenses(
            code="MIT",
            data=f"{spec.data.source}: {spec.data.licence}",
            weights=_licence_of_weights(spec),
        ),
        crop=face_crop(spec),
        languages=spec.data.languages if "text" in window.modalities else (),
        metadata=window.metadata,
    )


def face_crop(spec: ModelSpec) -> FaceCrop | None:
    """How serving has to crop the pictures; None without pictures."""
    if spec.crop is None:
        return None
    return FaceCrop(
        size=spec.window.size, template=spec.template, kind=spec.crop, tone=spec.window.tone
    )


def _sources(spec: ModelSpec) -> str:
    """The pretrained weights that the network started from."""
    sources = {card.portable(source) for source in spec.weights.values() if source != NONE}
    return ", ".join(sorted(sources))


def _licence_of_weights(spec: ModelSpec) -> str:
    own = "as the licence of the data allows"
    if _needs_detector(spec):
        own = f"face_geometry CC-BY-NC-SA-4.0; YuNet: Apache-2.0; the others {own}"
    sources = _sources(spec)
    return f"{own}, and those of {sources}" if sources else own


def _licence(name: str, spec: ModelSpec) -> list[str]:
    sources = _sources(spec)
    return card.licence(
        name,
        f"The engines of this bundle were trained on: {spec.data.source}\n"
        f"Licence of that data: {spec.data.licence}\nUse these weights only as it allows.",
        f"They started from pretrained weights, whose licences apply too: {sources}."
        if sources
        else "",
        'face_detector.onnx is YuNet, changed as in the bundle "pocket", under the Apache license 2.0: see\n'
        f'LICENSE.yunet. face_geometry.onnx is that of "pocket", under\n{card.CC_BY_NC_SA}.'
        if _needs_detector(spec)
        else "",
    )


def _card(
    exported: steps.Exported, trained: Trained, spec: ModelSpec, half_life_s: float | None
) -> list[str]:
    init = trained.config.get("init")
    start = f"the weights of `{Path(init).name}`" if init else _sources(spec) or "random weights"
    network = f"{count_parameters(trained.module, all_=True):,} parameters, from {start}"
    detector = " Faces are found and measured by the engines of `pocket`, with their limits."
    return [
        card.title(exported.manifest, *_inputs(spec, half_life_s)),
        f"Tasks: {', '.join(task.name for task in spec.tasks)}.",
        card.USE,
        card.training(trained, network, unused=("runs",)),
        card.training_data(spec.data),
        *_counts(exported.manifest, spec),
        card.measured(exported.manifest, card.MEASURED_ON_VALID, exported.by_class),
        f"## Calibration\n{_calibration(exported, spec)}",
        "## Limits\nThe network knows only what its training data shows."
        + (detector if _needs_detector(spec) else ""),
    ]


def _inputs(spec: ModelSpec, half_life_s: float | None) -> list[str]:
    """What the bundle takes, a phrase for each modality, and how the frames count."""
    window, found = spec.window, []
    if "video" in window.modalities:
        grey = ", color removed (the training data had none)" if spec.grey else ""
        tone = ", equalized as the training data was" if window.tone == "equalized" else ""
        found.append(
            f"{window.frame_hz} frames a second; {spec.crop} crops of {window.size} pixels{grey}{tone}"
        )
    if "text" in window.modalities:
        context = f", with {window.context} utterances before it" if window.context else ""
        found.append(f"one utterance of up to {window.tokens} tokens{context}")
    if window.metadata:
        found.append(f"features of the speakers: {', '.join(window.metadata)}")
    if half_life_s is not None:
        found.append(f"the weight of a frame halves every {half_life_s:g} s")
    return found


def _counts(manifest: Manifest, spec: ModelSpec) -> list[str]:
    """A table of the training samples of each class for each task that has classes."""
    prior = dict(zip(manifest.labels, manifest.calibration.prior, strict=True))
    tables = []
    for task in spec.tasks:
        if not task.counts:
            continue
        labels = task.labels or (f"{task.name} under 0.5", f"{task.name} of 0.5 and more")
        rows = (
            (label, count, f"{prior[label]:g}" if task.name == "emotion" else "as in training")
            for label, count in zip(labels, task.counts, strict=True)
        )
        tables.append(card.table(("label", "training samples", "assumed in use"), rows))
    return tables


def _calibration(exported: steps.Exported, spec: ModelSpec) -> str:
    if not exported.calibrated:
        return "None: the bundle predicts no emotions by probability."
    prior = "" if spec.loss.balanced == 1 else " The training set's prior is taken off the head."
    return (
        f"Readings under the minimum confidence abstain: under {EVEN}, or under what "
        f"{COVERAGE:.0%} of split valid reach if that is less.{prior}\n\n"
        f"{card.calibration(exported.calibrated)}"
    )
