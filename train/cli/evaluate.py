"""`affectstream train evaluate`, of bundles and of their parts."""

from __future__ import annotations

import sys
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affectstream.train.cli.flags import Bundle, Data, Split, folder_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from affectstream.engines.manifest import Measurement
    from affectstream.train.evaluate.bundle.bundle_evaluation import IntervalsByPart


def evaluate(
    data: Data,
    evaluated: Annotated[
        str | None,
        typer.Argument(metavar="BUNDLE", help="The same as --bundle.", show_default=False),
    ] = None,
    bundle: Bundle = "pocket",
    split: Annotated[
        str, typer.Option(help="Split of a prepared data set: train, valid or test.")
    ] = "test",
    output: Annotated[
        Path | None,
        folder_option(
            help="Also write a report, metrics with intervals, and the prediction of every sample."
        ),
    ] = None,
    media: Annotated[
        bool,
        typer.Option("--media", help="Faces and sounds of the worst cases too: personal data."),
    ] = False,
    curve: Annotated[
        Path | None,
        typer.Option(
            help="A folder of 'train curve' to show in the report: what more data would bring.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure a bundle on a prepared data set that it was not trained on, as far as the set has labels.

    It measures every task, by class, and each set of modalities alone; with --output also where it fails and
    what it costs.

    Example: [bold]affectstream train evaluate pocket --data prepared/fer2013 --split valid -o out[/bold]
    """
    from affectstream.engines.bundle.bundle import Bundle
    from affectstream.stream.errors import OptionError
    from affectstream.stream.sinks.base import check_writable
    from affectstream.train.evaluate.bundle.bundle_evaluation import evaluate_fully, part_intervals
    from affectstream.train.evaluate.bundle.bundle_metrics import measure_bundle
    from affectstream.train.evaluate.bundle.evaluation_files import PAGE, write_evaluation
    from affectstream.train.fit.unseen import taught_samples_of
    from affectstream.train.studies.learning_curve import read_curve

    if output is None and (media or curve is not None):
        option = "--media shows the worst cases" if media else "--curve shows the learning curve"
        raise OptionError(f"{option} in the report: give --output too")
    if evaluated is not None and bundle not in ("pocket", evaluated):
        raise OptionError(f"{evaluated} and --bundle {bundle} are two bundles: give one")
    if output is not None:
        check_writable(output)  # measuring may take long
    learned = None if curve is None else read_curve(curve)
    warn_of_training_samples(split)
    with Bundle.open(evaluated or bundle) as opened:
        found = measure_bundle(opened, data, split)
        if remark := taught_samples_of(opened.folder, data, split).remark(opened.manifest.name):
            print(remark, file=sys.stderr)
        intervals = part_intervals(found)
        _print(found.rows, intervals)
        by = found.predictions.groups().by
        print("\n".join([f"intervals: 95 % bootstrap by {by}", *found.by_class]))
        if output is not None:
            full = evaluate_fully(opened, found, data, split, learned, intervals)
            write_evaluation(full, output, media=media)
            print(f"report: {output / PAGE}", file=sys.stderr)


def evaluate_detector(
    data: Data,
    engine: Annotated[
        list[Path] | None, typer.Option(help="ONNX file with YuNet's twelve outputs; repeat.")
    ] = None,
    size: Annotated[int, typer.Option(help="Longest side of the frames for --engine.")] = 384,
    threshold: Annotated[float, typer.Option(help="Lowest score of a face for --engine.")] = 0.5,
    bundle: Bundle = "pocket",
) -> None:
    """Compare face detectors with a bundle's and with YuNet, on upright and turned pictures.

    The columns: percent of YuNet's faces on the clips in DATA/video that are found (IoU 0.5), upright and
    turned by 90, 180 and 270 degrees; percent of portraits that are found turned by up to 45 degrees; false
    alarms in pictures without a face; detections beyond YuNet's; slope and residual of the roll of these
    portraits, by the five landmarks; milliseconds for a frame of 16:9 on one core.

    Example: [bold]affectstream train evaluate-detector --data DATA --engine face_detector.onnx[/bold]
    """
    from affectstream.engines.bundle.folder import find_bundle, read_manifest
    from affectstream.engines.models.registry import part_path
    from affectstream.stream.faces.detection.detect import DetectorSpec
    from affectstream.train.evaluate.parts import detector
    from affectstream.train.evaluate.table import aligned

    spec = DetectorSpec(size, threshold)
    candidates = [detector.Candidate(path.name, path, spec) for path in engine or []]
    folder = find_bundle(bundle)
    manifest = read_manifest(folder)
    if (part := manifest.engines.face_detector) is not None:
        spec = DetectorSpec.of(part)
        candidates.append(detector.Candidate(manifest.name, part_path(folder, part), spec))
    candidates.append(detector.yunet_at(size, data))
    comparison = detector.compare_detectors(candidates, data, cost=True)
    print("\n".join(aligned(detector.as_table(candidates, comparison))))
    print(f"{comparison.faces} faces, {comparison.empty} pictures without a face")


def evaluate_geometry(
    data: Data,
    teacher: Annotated[Path, typer.Option(help="Folder that face_mesh.py wrote.")],
    engine: Annotated[
        Path | None, typer.Option(help="ONNX file of face_geometry, instead of the bundle's.")
    ] = None,
    size: Annotated[int, typer.Option(help="Side of the squares for --engine.")] = 128,
    bundle: Bundle = "pocket",
) -> None:
    """Compare the engine face_geometry with MediaPipe's face mesh, behind the bundle's detector.

    On the recordings in DATA/video and on photos of people who are kept out of training: correlation, slope
    and median difference (less the bias) of each measure; the roll of turned portraits; how steady each
    angle is.

    Example: [bold]affectstream train evaluate-geometry --data DATA --teacher TEACHER[/bold]
    """
    from affectstream.engines.bundle.bundle import Bundle
    from affectstream.engines.manifest import GeometryPart
    from affectstream.engines.runtimes.onnx import OnnxEngine
    from affectstream.stream.faces.detection.detect import Detector, DetectorSpec
    from affectstream.stream.faces.detection.find import FaceFinder
    from affectstream.stream.faces.measures.geometry import GeometryEngine
    from affectstream.train.evaluate.parts import face_geometry

    with Bundle.open(bundle) as opened:
        geometry = GeometryEngine.from_bundle(opened)
        if engine is not None:
            part = GeometryPart(engine.name, "", input_size=size)
            geometry = GeometryEngine(OnnxEngine(engine), part)
        detector = opened.manifest.engines.face_detector
        if detector is None or geometry is None:
            raise typer.BadParameter(
                f"bundle {bundle!r} lacks a face detector or face_geometry: name one that has both, or "
                "give --engine"
            )
        spec = DetectorSpec.of(detector)
        finder = FaceFinder(Detector(opened.engines["face_detector"], spec), geometry)
        _print(face_geometry.evaluate_geometry(finder, data, teacher))


def warn_of_training_samples(split: str) -> None:
    """Say on stderr that metrics of split train mean little."""
    if split == "train":
        print("networks are trained on split train: metrics on it say little", file=sys.stderr)


def _print(rows: Sequence[Measurement], intervals: IntervalsByPart | None = None) -> None:
    """A line for each metric, with its interval where there is one."""
    for row in rows:
        of_part = (intervals or {}).get(row.part, {})
        task, _, metric = row.metric.rpartition("/")
        own = of_part.get(task or next(iter(of_part), ""), {}).get(metric)
        shown = f"{row.value:.4f}" if own is None or isnan(own.low) else str(own)
        print(f"{row.part:16} {row.data:38} {row.metric:22} {shown}  (n = {row.count})")


def evaluate_face(
    data: Data,
    encoder: Annotated[
        str, typer.Option(help="'pocket', the folder of a bundle, or a face_encoder.onnx.")
    ] = "pocket",
    split: Split = "valid",
    linear: Annotated[
        Path | None,
        typer.Option(
            help="The same set prepared with --labels own: fit a linear layer on the embedding."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        folder_option(help="Also write the report and a picture of the confusion matrix."),
    ] = None,
) -> None:
    """Measure a face encoder on a prepared set of faces, as they are and degraded.

    Prints agreement with 95 % intervals, the confusion matrix, size and cost; the last line is JSON.

    Example: [bold]affectstream train evaluate-face --data prepared/fer2013 -o out[/bold]
    """
    import msgspec

    from affectstream.train.evaluate.parts import face_encoder as faces

    warn_of_training_samples(split)
    found = faces.evaluate(faces.FaceEncoder(encoder), data, split, linear)
    print("\n".join(faces.lines(found)))
    print(msgspec.json.encode(found).decode())
    if output is not None:
        faces.write(found, output)


def evaluate_voice(
    data: Data,
    encoder: Annotated[
        str, typer.Option(help="'pocket', or the folder of a bundle or of a run.")
    ] = "pocket",
    split: Annotated[
        list[str] | None,
        typer.Option(help="Split of the prepared data set; repeat.", show_default="valid"),
    ] = None,
    changed: Annotated[
        bool, typer.Option("--changed/--as-they-are", help="Also in noise and in a room, or not.")
    ] = True,
) -> None:
    """Measure the voice of a bundle or a run on prepared speech, by corpus, sex, class, noise and room.

    Prints the unweighted average recall with 95 % intervals by speaker, the recall of each class, the
    confusion matrix, size and cost; the last line is JSON.

    Example: [bold]affectstream train evaluate-voice --data prepared/voices[/bold]
    """
    import msgspec

    from affectstream.train.evaluate.parts import voice_encoder as voices
    from affectstream.train.evaluate.parts.voice_models import open_voice_model

    for part in split or []:
        warn_of_training_samples(part)
    with open_voice_model(encoder) as model:
        found = voices.evaluate(model, data, split or ["valid"], changed=changed)
    print("\n".join(voices.lines(found)))
    print(msgspec.json.encode(found).decode())
