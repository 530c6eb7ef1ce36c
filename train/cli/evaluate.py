"""`affectstream train evaluate`, `train compare` and `train report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affectstream.train.cli.flags import Data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from affectstream.engines.manifest import Measurement


def evaluate(
    data: Data,
    bundle: Annotated[str, typer.Option(help="'pocket', or the folder of a bundle.")] = "pocket",
    split: Annotated[
        str, typer.Option(help="Split of a prepared data set: train, valid or test.")
    ] = "test",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Also write metrics with intervals, the prediction of every sample, and pictures.",
        ),
    ] = None,
) -> None:
    """Measure a bundle on a prepared data set that it was not trained on, as far as the set has labels.

    It measures every task, by class, and each set of modalities alone.

    Example: [bold]affectstream train evaluate --data prepared/fer2013 --split valid -o out[/bold]
    """
    from affectstream.engines.bundle.bundle import Bundle
    from affectstream.train.evaluate.bundle_metrics import evaluate_and_predict
    from affectstream.train.evaluate.evaluation import evaluate_predictions
    from affectstream.train.evaluate.evaluation_files import write

    _warn_of_training_samples(split)
    with Bundle.open(bundle) as opened:
        rows, by_class, predictions = evaluate_and_predict(opened, data, split)
        _print(rows)
        print("\n".join(by_class))
        if output is not None:
            origin = {"bundle": opened.manifest.name, "version": opened.manifest.version}
            origin |= {"data": str(data), "split": split}
            write(evaluate_predictions(predictions), predictions, origin, output)


def evaluate_detector(
    data: Data,
    engine: Annotated[
        list[Path] | None, typer.Option(help="ONNX file with YuNet's twelve outputs; repeat.")
    ] = None,
    size: Annotated[int, typer.Option(help="Longest side of the frames for --engine.")] = 384,
    threshold: Annotated[float, typer.Option(help="Lowest score of a face for --engine.")] = 0.5,
    bundle: Annotated[str, typer.Option(help="'pocket', or the folder of a bundle.")] = "pocket",
) -> None:
    """Compare face detectors with a bundle's and with YuNet, on upright and turned pictures.

    The columns: percent of YuNet's faces on the clips in DATA/video that are found (IoU 0.5), upright and
    turned by 90, 180 and 270 degrees; false alarms in pictures without a face; detections beyond YuNet's;
    slope and residual of the roll of portraits turned up to 45 degrees, by the five landmarks; milliseconds
    for a frame of 16:9 on one core.

    Example: [bold]affectstream train evaluate-detector --data DATA --engine face_detector.onnx[/bold]
    """
    from affectstream.engines.bundle.folder import find_bundle, read_manifest
    from affectstream.engines.models.registry import part_path
    from affectstream.stream.faces.detect import DetectorSpec
    from affectstream.train.evaluate import detector
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
    teacher: Annotated[
        Path, typer.Option(help="Folder that face_mesh.py wrote.", show_default=False)
    ],
    engine: Annotated[
        Path | None, typer.Option(help="ONNX file of face_geometry, instead of the bundle's.")
    ] = None,
    size: Annotated[int, typer.Option(help="Side of the squares for --engine.")] = 128,
    bundle: Annotated[str, typer.Option(help="'pocket', or the folder of a bundle.")] = "pocket",
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
    from affectstream.stream.faces.detect import Detector, DetectorSpec
    from affectstream.stream.faces.find import FaceFinder
    from affectstream.stream.faces.geometry import GeometryEngine
    from affectstream.train.evaluate import face_geometry

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


def _warn_of_training_samples(split: str) -> None:
    if split == "train":
        print("networks are trained on split train: metrics on it say little", file=sys.stderr)


def _print(rows: Sequence[Measurement]) -> None:
    for row in rows:
        print(f"{row.part:16} {row.data:38} {row.metric:22} {row.value:.4f}  (n = {row.count})")


def evaluate_face(
    data: Data,
    encoder: Annotated[
        str, typer.Option(help="'pocket', the folder of a bundle, or a face_encoder.onnx.")
    ] = "pocket",
    split: Annotated[str, typer.Option(help="Split of the prepared data set.")] = "valid",
    linear: Annotated[
        Path | None,
        typer.Option(
            help="The same set prepared with --labels own: fit a linear layer on the embedding."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Also write the report and a picture of the confusion matrix."
        ),
    ] = None,
) -> None:
    """Measure a face encoder on a prepared set of faces, as they are and degraded.

    Prints agreement with 95 % intervals, the confusion matrix, size and cost; the last line is JSON.

    Example: [bold]affectstream train evaluate-face --data prepared/fer2013 -o out[/bold]
    """
    import msgspec

    from affectstream.train.evaluate import face_encoder as faces

    _warn_of_training_samples(split)
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

    from affectstream.train.evaluate import voice_encoder as voices

    for part in split or []:
        _warn_of_training_samples(part)
    with voices.open_hearer(encoder) as hearer:
        found = voices.evaluate(hearer, data, split or ["valid"], changed=changed)
    print("\n".join(voices.lines(found)))
    print(msgspec.json.encode(found).decode())


def compare(
    first: Annotated[str, typer.Argument(help="Folder of a run or a bundle, or 'pocket'.")],
    second: Annotated[str, typer.Argument(help="The one to compare with the first.")],
    data: Data,
    split: Annotated[str, typer.Option(help="Split of the prepared data set.")] = "valid",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write all results as JSON.")
    ] = None,
) -> None:
    """Compare two runs or bundles sample by sample: is one better, or is it chance?

    Differences are the second's metric minus the first's; a star marks an interval without 0.

    Example: [bold]affectstream train compare runs/cnn runs/tiny_vit --data prepared/fer2013[/bold]
    """
    from affectstream.train.evaluate import compare as comparison
    from affectstream.train.files import encode_json, write_atomically

    _warn_of_training_samples(split)
    predictions = [comparison.predict(name, data, split) for name in (first, second)]
    compared = comparison.compare(*predictions)
    for one in compared:
        print("\n".join(comparison.lines(one)))
    if output is not None:
        names = {"first": first, "second": second, "data": str(data), "split": split}
        write_atomically(output, encode_json({**names, "tasks": compared}))


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of runs, or one run; repeat.", show_default="runs"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Also write the table: .md, .csv or .json."),
    ] = None,
    curves: Annotated[
        Path | None, typer.Option(help="Draw the curves of each run into this folder.")
    ] = None,
) -> None:
    """Compare runs in one table: parameters, best epoch, metrics, minutes, memory.

    Example: [bold]affectstream train report --runs runs --output runs.md[/bold]
    """
    from affectstream.train.evaluate import report as reports

    folders = runs or [Path("runs")]
    rows = reports.table(folders)
    print("\n".join(reports.lines(rows)))
    if output is not None:
        reports.write(rows, output)
    if curves is not None:
        for folder in folders:
            for run in reports.find_runs(folder):
                if reports.read_log(run):
                    name = "-".join(run.relative_to(folder).parts) or run.name
                    reports.draw(run, curves / f"{name}.png")
