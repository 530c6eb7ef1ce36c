"""From a data set's own files to the one layout: jobs, shards, splits, report.

An interrupted run goes on with the first job that is not in a finished shard. A folder holds either an
unfinished run (`progress.json`) or a whole data set (`dataset.json`), never both.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import cv2
import msgspec
import numpy as np
import pyarrow as pa

from affectstream.stream.errors import OptionError
from affectstream.stream.sinks.base import writing
from affectstream.train.data.assign import DEFAULT_SPLIT, NEEDED, By, Duplicates, assign_splits
from affectstream.train.data.dataset import (
    FORMAT,
    INFO,
    CropInfo,
    DatasetInfo,
    Shard,
    encode_info,
)
from affectstream.train.data.prepare.crops import CropKind, Cropper
from affectstream.train.data.prepare.describe import DataFacts, describe
from affectstream.train.data.prepare.shards import (
    PROGRESS,
    SHARD_BYTES,
    Progress,
    ShardWriter,
    finish,
    light_rows,
    shard_path,
)
from affectstream.train.data.prepare.source import MakeSource, Options, Skipped, Source, Warned
from affectstream.train.data.sample import Sample
from affectstream.train.data.splits import parse_shares
from affectstream.train.errors import DataError, DataMissing, RunError
from affectstream.train.files import write_atomically

_LATER = frozenset({"split", "by", "seed", "duplicates"})
"""Parameters that matter only once all samples are made: a run that ended there may change them."""

_CLIPS = frozenset({"frames", "crop", "size"})
SETS: dict[str, frozenset[str]] = {
    "fer2013": frozenset({"size"}),
    "ravdess": _CLIPS,
    "emodb": frozenset(),
    "meld": _CLIPS,
    "affdex": frozenset(
        {
            *("crop", "size", "every", "rate", "sound_s"),
            *("time", "stimulus", "event_source", "offset_ms"),
        }
    ),
    "conversation": _CLIPS | {"columns", "language"},
    "paired": frozenset({"times", "part", "conflicts"}),
}
"""The sets, each a module of `train.data`, and the options that concern only some of them."""
DEFAULT_SIZE = {"fer2013": 48}
SIZE = 112


@dataclass(frozen=True, slots=True)
class Plan:
    """What to prepare and how; it travels inside `dataset.json`."""

    set: str
    options: Options = field(default_factory=Options)
    crop: CropKind = "face"
    size: int = SIZE
    split: str | None = None
    """``official``, ``none`` or shares; None takes the set's own, else 70/15/15."""
    by: By = "participant"
    seed: int = 0
    duplicates: Duplicates = "refuse"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What came of it."""

    info: DatasetInfo
    skipped: tuple[Skipped, ...]
    remarks: tuple[Warned, ...]
    resumed: int
    """Jobs that an earlier, interrupted run had done."""


def prepare(
    plan: Plan,
    path: Path,
    output: Path,
    *,
    threads: int = 1,
    shard_bytes: int = SHARD_BYTES,
    report: Callable[[int, int, int], None] = lambda done, jobs, samples: None,
) -> Prepared:
    """Make the data set in `output`. A shard ends with the first job that fills it to `shard_bytes`.
    `report` is called after each job: done, all, samples so far.

    Raises `DataMissing`, `DataError`, `SplitError`, `RunError` where `output` holds another data set,
    `OutputError` where the disk refuses.
    """
    if plan.split not in (None, "official", "none"):
        parse_shares(str(plan.split))
    source = open_source(plan, path)
    progress = _progress(plan, path, output)
    resumed, samples = progress.jobs, 0
    writer = ShardWriter(output, progress, shard_bytes)
    try:
        with Cropper(plan.crop, plan.size, threads=threads) as cropper:
            for job in source.jobs[resumed:]:
                skipped, remarks = list[Skipped](), list[Warned]()
                for made in job.make(cropper):
                    match made:
                        case Sample():
                            writer.add(made)
                            samples += 1
                        case Skipped():
                            skipped.append(made)
                        case Warned():
                            remarks.append(made)
                writer.end_job(skipped, remarks)
                report(progress.jobs, len(source.jobs), samples)
        writer.close()
    except KeyboardInterrupt:
        writer.interrupt()
        raise
    except BaseException:
        writer.discard()
        raise
    info = _finish(plan, source, progress, output)
    return Prepared(info, tuple(progress.skipped), tuple(progress.remarks), resumed)


def open_source(plan: Plan, path: Path) -> Source:
    """Find the set's files. Raises `DataMissing` or `DataError`."""
    if not path.exists():
        raise DataMissing(f"{path} does not exist: expected the files of {plan.set}")
    make: MakeSource = importlib.import_module(f"affectstream.train.data.readers.{plan.set}").source
    source = make(path, plan.options)
    if plan.split == "official" and not source.official:
        raise OptionError(
            f"--split official: {source.title} comes without splits; give shares such as 70/15/15"
        )
    return source


def _progress(plan: Plan, path: Path, output: Path) -> Progress:
    """An unfinished run with the same parameters goes on; anything else is not overwritten."""
    parameters = _parameters(plan, path)
    if (output / INFO).exists():
        raise RunError(f"{output} already holds a data set: choose another folder, or --overwrite")
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    try:
        found = msgspec.json.decode((output / PROGRESS).read_bytes(), type=Progress)
    except FileNotFoundError:
        return Progress(parameters)
    except (OSError, msgspec.DecodeError) as error:
        raise RunError(f"{output / PROGRESS} cannot be read ({error}): use --overwrite") from error
    different = [
        name
        for name, value in parameters.items()
        if name not in _LATER and found.parameters.get(name) != value
    ]
    if different:
        raise RunError(
            f"{output} holds an unfinished run with other parameters ({', '.join(different)}): "
            "choose another folder, or --overwrite"
        )
    found.parameters = parameters
    return found


def _parameters(plan: Plan, path: Path) -> dict[str, Any]:
    """Plain values; the options of a set lie beside those of all sets."""
    plain: dict[str, Any] = msgspec.to_builtins(asdict(plan))
    return {**plain.pop("options"), **plain, "source": str(path.absolute())}


def clear(output: Path) -> None:
    """Remove a data set, or an unfinished one, and nothing else, from `output`."""
    with writing(output):
        for pattern in (INFO, PROGRESS, "samples-*.parquet", "shard-*.parquet", ".*.part", "*.tmp"):
            for path in output.glob(pattern):
                path.unlink()


def _finish(plan: Plan, source: Source, progress: Progress, output: Path) -> DatasetInfo:
    """Give every row its split, check them, and write `dataset.json`."""
    made = [shard_path(output, number) for number in range(progress.shards)]
    rows = list(light_rows(made, NEEDED))
    if not rows:
        clear(output)
        raise DataError(_nothing(source, progress))
    splits, shared_people = assign_splits(
        rows,
        plan.split or ("official" if source.official else DEFAULT_SPLIT),
        by=plan.by,
        seed=plan.seed,
        duplicates=plan.duplicates,
        may_share=source.shared_people is not None,
    )
    progress.skipped.extend(_dropped(rows, splits))
    shards = finish(output, progress.shards, splits)
    facts = describe(light_rows([output / shard.file for shard in shards]))
    info = _info(plan, source, progress, facts, shards, shared_people)
    with writing(output / INFO):
        write_atomically(output / INFO, encode_info(info))
        for path in (*made, output / PROGRESS):
            path.unlink()
    return info


def _dropped(
    rows: Sequence[Mapping[str, Any]], splits: Mapping[str, str | None]
) -> Iterator[Skipped]:
    """The samples that `splits` leave out, each with the one that is the same and stays."""
    stays = {
        row["content"]: row["id"] for row in rows if splits.get(row["id"]) not in (None, "train")
    }
    for row in rows:
        if row["id"] not in splits:
            same = stays[row["content"]]
            yield Skipped(row["id"], "occurs in valid or test as well", f"the same as {same}")


def _nothing(source: Source, progress: Progress) -> str:
    """Why there are no samples."""
    reasons = Counter(skip.reason for skip in progress.skipped)
    why = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
    first = next((s for s in progress.skipped if s.detail), None)
    detail = f", such as {first.name}: {first.detail}" if first else ""
    return f"no samples could be made of {source.title}: {why or 'no rows'}{detail}"


def _info(
    plan: Plan,
    source: Source,
    progress: Progress,
    facts: DataFacts,
    shards: tuple[Shard, ...],
    shared_people: Sequence[str],
) -> DatasetInfo:
    template = Cropper(plan.crop, plan.size).template if plan.crop == "face" else None
    notes = list(source.notes)
    if shared_people:
        why = source.shared_people or "the split was asked for by sample"
        notes.append(
            f"{len(shared_people)} participants are in several splits ({why}): "
            "figures say nothing of people never seen"
        )
    return DatasetInfo(
        format=FORMAT,
        name=plan.set,
        source=source.title,
        licence=source.licence,
        rows=facts.rows,
        splits=facts.splits,
        emotions=facts.emotions,
        tasks=facts.tasks,
        modalities=facts.modalities,
        participants=facts.participants,
        shared_participants=tuple(shared_people),
        content_sha256=facts.content_sha256,
        split_sha256=facts.split_sha256,
        crop=(source.crop or CropInfo(plan.crop, plan.size, template)) if facts.looked_at else None,
        shards=shards,
        parameters=progress.parameters,
        versions={
            "affectstream": version("affectstream"),
            "av": av.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "pyarrow": pa.__version__,
        },
        notes=tuple(notes),
    )
