"""From the files of a data set to the one format: run its jobs, write shards, split, describe.

An interrupted run continues with the first job that is not in a finished shard. A folder holds either an
unfinished run (`progress.json`) or a whole data set (`dataset.json`), never both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import cv2
import msgspec
import numpy as np
import pyarrow as pa

from affectstream.stream.errors import OptionError
from affectstream.stream.faces.crop import scaled_template
from affectstream.stream.sinks.base import writing
from affectstream.train.data.assign import DEFAULT_SPLIT, NEEDED, assign_splits
from affectstream.train.data.dataset import FORMAT, INFO, CropInfo, DatasetInfo
from affectstream.train.data.options import PrepareConfig
from affectstream.train.data.prepare.shards import (
    PROGRESS,
    SHARD_BYTES,
    Progress,
    ShardWriter,
    describe,
    finish,
    read_rows,
    shard_path,
)
from affectstream.train.data.readers import load_reader
from affectstream.train.data.reading.crops import Cropper
from affectstream.train.data.reading.reader import RawDataset, Skipped, Warned
from affectstream.train.data.sample import Sample
from affectstream.train.data.splits import parse_shares
from affectstream.train.errors import DataError, DataMissing, RunError
from affectstream.train.files import encode_json, write_atomically
from affectstream.train.progress import Advance

NO_PARTICIPANTS = (
    "no participants are named: recordings are kept whole, but a person may be in several splits"
)
_LIBRARIES = {"av": av, "numpy": np, "opencv": cv2, "pyarrow": pa}
_SPLIT_PARAMETERS = frozenset({"split", "by", "seed", "duplicates"})
"""Parameters that are used after the last job. A run that failed there may continue with others."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The finished data set, and what its jobs reported."""

    info: DatasetInfo
    skipped: tuple[Skipped, ...]
    warned: tuple[Warned, ...]
    resumed: int
    """Jobs that an earlier, interrupted run had finished."""


def prepare(
    config: PrepareConfig,
    path: Path,
    output: Path,
    *,
    threads: int = 1,
    shard_bytes: int = SHARD_BYTES,
    on_progress: Advance = lambda done, jobs, note: None,
) -> Prepared:
    """Prepare the data set at `path` in the folder `output`.

    A shard ends with the first job that fills it to `shard_bytes`. `on_progress` is called after each
    job. Raises `DataMissing`, `DataError`, `SplitError`, `RunError` if `output` holds another data set,
    `OutputError` where the disk refuses.
    """
    if config.split not in (None, "official", "none"):
        parse_shares(str(config.split))
    if not path.exists():
        raise DataMissing(f"{path} does not exist: expected the files of {config.set}")
    raw = load_reader(config.set).find(path, config)
    if config.split == "official" and not raw.has_splits:
        raise OptionError(
            f"--split official: {raw.title} comes without splits; give shares such as 70/15/15"
        )
    progress = _open_progress(config, path, output)
    resumed, samples = progress.jobs, 0
    with (
        Cropper(config.crop, config.size, threads=threads) as cropper,
        ShardWriter(output, progress, shard_bytes) as writer,
    ):
        for job in raw.jobs[resumed:]:
            problems: list[Skipped | Warned] = []
            for result in job.run(cropper):
                if isinstance(result, Sample):
                    writer.add(result)
                    samples += 1
                else:
                    problems.append(result)
            writer.end_job(problems)
            on_progress(progress.jobs, len(raw.jobs), f"{samples} samples")
    info = _finish(config, raw, progress, output)
    return Prepared(info, tuple(progress.skipped), tuple(progress.remarks), resumed)


def _open_progress(config: PrepareConfig, path: Path, output: Path) -> Progress:
    """The progress of an unfinished run with these parameters, or of a new one. Raises `RunError`."""
    parameters = {**msgspec.to_builtins(asdict(config)), "source": str(path.absolute())}
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
        if name not in _SPLIT_PARAMETERS and found.parameters.get(name) != value
    ]
    if different:
        raise RunError(
            f"{output} holds an unfinished run with other parameters ({', '.join(different)}): "
            "choose another folder, or --overwrite"
        )
    found.parameters = parameters
    return found


def remove_prepared(output: Path) -> None:
    """Remove a data set, or an unfinished one, and nothing else, from `output`."""
    with writing(output):
        for pattern in (INFO, PROGRESS, "samples-*.parquet", "shard-*.parquet", ".*.part"):
            for path in output.glob(pattern):
                path.unlink()


def _finish(
    config: PrepareConfig, raw: RawDataset, progress: Progress, output: Path
) -> DatasetInfo:
    unsplit = [shard_path(output, number) for number in range(progress.shards)]
    rows = list(read_rows(unsplit, [*NEEDED, "frames_seen"]))
    if not rows:
        remove_prepared(output)
        raise DataError(_no_samples(raw, progress))
    split = config.split or ("official" if raw.has_splits else DEFAULT_SPLIT)
    splits, in_several = assign_splits(
        rows,
        split,
        by=config.by,
        seed=config.seed,
        duplicates=config.duplicates,
        may_share=raw.why_shared is not None,
    )
    progress.skipped += _left_out(rows, splits)
    shards = finish(output, progress.shards, splits)
    notes = list(raw.notes)
    if in_several:
        why = raw.why_shared or "the split was asked for by sample"
        notes.append(
            f"{len(in_several)} participants are in several splits ({why}): "
            "metrics do not measure new people"
        )
    dealt = split not in ("official", "none") and config.by == "participant"
    if dealt and not any(row["participant"] for row in rows):
        notes.append(NO_PARTICIPANTS)
    crop = None
    if any(row["frames_seen"] for row in rows):
        face = config.crop == "face"
        template = scaled_template(config.size, raw.template) if face else None
        crop = raw.crop or CropInfo(config.crop, config.size, template)
    info = DatasetInfo(
        format=FORMAT,
        name=config.set,
        source=raw.title,
        licence=raw.licence,
        **describe(read_rows([output / shard.file for shard in shards])),
        shared_participants=tuple(in_several),
        crop=crop,
        shards=shards,
        parameters=progress.parameters,
        versions={"affectstream": version("affectstream")}
        | {name: module.__version__ for name, module in _LIBRARIES.items()},
        notes=tuple(notes),
    )
    write_atomically(output / INFO, encode_json(info))
    with writing(output):
        for path in (*unsplit, output / PROGRESS):
            path.unlink()
    return info


def _left_out(
    rows: Sequence[Mapping[str, Any]], splits: Mapping[str, str | None]
) -> Iterator[Skipped]:
    """The samples that have no place in `splits`, each with its duplicate outside of training."""
    evaluated = {
        row["content"]: row["id"] for row in rows if splits.get(row["id"]) not in (None, "train")
    }
    for row in rows:
        if row["id"] not in splits:
            same = evaluated[row["content"]]
            yield Skipped(row["id"], "occurs in valid or test as well", f"the same as {same}")


def _no_samples(raw: RawDataset, progress: Progress) -> str:
    reasons = Counter(skip.reason for skip in progress.skipped)
    why = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
    first = next((s for s in progress.skipped if s.detail), None)
    detail = f", such as {first.name}: {first.detail}" if first else ""
    return f"no samples could be made of {raw.title}: {why or 'no rows'}{detail}"
