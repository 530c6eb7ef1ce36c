"""`affectstream train prepare` and `train preview`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from affectstream.stream.errors import OptionError
from affectstream.train.cli.flags import folder_option, parse_pairs
from affectstream.train.data.readers import reader_names
from affectstream.train.progress import progress_bar

CropKind = Literal["face", "person", "frame"]
By = Literal["participant", "sample"]
Duplicates = Literal["refuse", "drop", "keep"]
Part = Literal["train", "valid", "test", "unseen"]
LabelSource = Literal["votes", "own"]
_of_some_sets = partial(typer.Option, rich_help_panel="Some sets only")
_OF_READERS = (
    *("frames", "every", "rate", "sound_s", "time", "stimulus", "event_source", "offset_ms"),
    *("language", "times", "part", "conflicts", "degrade", "labels"),
)
"""Flags that become `Options` of the reader."""


def prepare(
    name: Annotated[
        str, typer.Argument(metavar="SET", help=f"One of {', '.join(reader_names())}.")
    ],
    source: Annotated[Path, typer.Argument(help="Folder, archive or table of the data set.")],
    output: Annotated[Path, folder_option(help="Folder of the data set.")],
    crop: Annotated[
        CropKind | None, typer.Option(help="Part of a picture.", show_default="face")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=16, max=1024, help="Side of a crop, pixels.", show_default="112"),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Crops of a clip, evenly spread, instead of --rate; leaves gaps."
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="Crops a second; at least the frame_hz of the recipe.", show_default="8"
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="official, none, or shares of train/valid/test.",
            show_default="official, else 70/15/15",
        ),
    ] = None,
    by: Annotated[
        By, typer.Option(help="participant: none in two splits; sample: stratified only.")
    ] = "participant",
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    duplicates: Annotated[
        Duplicates,
        typer.Option(
            help="The same picture or sound in two splits: refuse, drop (of train), keep."
        ),
    ] = "refuse",
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="OLD=EMOTION, a label of yours; repeat.")
    ] = None,
    drop_unknown: Annotated[
        bool, typer.Option("--drop-unknown", help="Leave out rows with any other label.")
    ] = False,
    column: Annotated[
        list[str] | None, _of_some_sets(help="OURS=YOURS, a column of a conversation; repeat.")
    ] = None,
    language: Annotated[
        str | None, _of_some_sets(help="Language of a conversation without that column.")
    ] = None,
    every: Annotated[
        int | None, _of_some_sets(min=1, help="affdex: each Nth frame instead of --rate.")
    ] = None,
    sound_s: Annotated[
        float | None,
        _of_some_sets(
            "--sound",
            min=0.0,
            max=30.0,
            help="affdex: seconds of sound before a frame.",
            show_default="0",
        ),
    ] = None,
    time: Annotated[
        str | None, _of_some_sets(help="affdex: column of times.", show_default="MediaTime")
    ] = None,
    stimulus: Annotated[str | None, _of_some_sets(help="affdex: rows of this stimulus.")] = None,
    event_source: Annotated[str | None, _of_some_sets(help="affdex: rows of this sensor.")] = None,
    offset_ms: Annotated[
        float | None, _of_some_sets(help="affdex: added to the export's times.")
    ] = None,
    times: Annotated[
        int | None, _of_some_sets(min=1, help="paired: partners of a sample.", show_default="1")
    ] = None,
    part: Annotated[
        Part | None,
        _of_some_sets(
            help="paired: only this split of each set, in two halves; unseen: valid and test."
        ),
    ] = None,
    conflicts: Annotated[
        float | None,
        _of_some_sets(
            min=0.0, max=1.0, help="paired: share whose modalities contradict.", show_default="0"
        ),
    ] = None,
    degrade: Annotated[
        float | None,
        _of_some_sets(
            min=0.0, max=1.0, help="paired: share with noise, blur and so on.", show_default="0"
        ),
    ] = None,
    labels: Annotated[
        LabelSource | None,
        _of_some_sets(help="fer2013: FER+ votes, or its own labels.", show_default="votes, if any"),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the face detector.")] = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start again if OUTPUT holds a data set.")
    ] = False,
) -> None:
    """Turn a data set into the one format that every recipe reads.

    An interrupted run continues where it stopped. OUTPUT then holds samples-*.parquet, dataset.json,
    report.json and samples.png, a sheet of samples to look at.

    Example: [bold]affectstream train prepare ravdess DATA/ravdess --output prepared/ravdess[/bold]
    """
    given = locals()
    from affectstream.train.data.prepare.prepare import PrepareConfig, remove_prepared
    from affectstream.train.data.prepare.prepare import prepare as run
    from affectstream.train.data.prepare.report import REPORT, SHEET, summary, write_report
    from affectstream.train.data.readers import load_reader
    from affectstream.train.data.reading.reader import Options

    reader = load_reader(name)
    own: dict[str, Any] = {n: given[n] for n in _OF_READERS if given[n] is not None}
    if column:
        own["columns"] = parse_pairs(column, "--column", "OURS=YOURS, such as text=Transcript")
    for option in [*own, *(n for n in ("crop", "size") if given[n] is not None)]:
        if option not in reader.options:
            flag = {"sound_s": "sound", "columns": "column"}.get(option, option).replace("_", "-")
            raise OptionError(f"--{flag} means nothing for {name}")
    if frames is not None and rate is not None:
        raise OptionError("--frames and --rate exclude each other: give one")
    translate = parse_pairs(map_, "--map", "OLD=EMOTION, such as happy=joy")
    config = PrepareConfig(
        set=name,
        options=Options(**own, translate=translate, drop_unknown=drop_unknown),
        crop=crop or "face",
        size=size or reader.size,
        split=split,
        by=by,
        seed=seed,
        duplicates=duplicates,
    )
    if overwrite:
        remove_prepared(output)
    with progress_bar(name) as advance:

        def on_progress(done: int, jobs: int, samples: int) -> None:
            advance(done, jobs, f"{samples} samples")

        prepared = run(config, source, output, threads=threads, on_progress=on_progress)
    report = write_report(output, prepared)
    if prepared.resumed:
        print(f"continued after {prepared.resumed} files or rows of an earlier run")
    for line in summary(prepared, report):
        print(line)
    print(f"written to {output}; more in {REPORT}, samples to look at in {SHEET}")


def preview(
    data: Annotated[Path, typer.Option(help="Prepared data set.")],
    output: Annotated[Path, folder_option(help="Folder for the files.")],
    split: Annotated[str, typer.Option(help="Split of the samples.")] = "train",
    count: Annotated[int, typer.Option(min=1, max=64, help="Samples to show.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.5, max=30, help="Seconds of sound.")] = 3.0,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed of all random numbers.")
    ] = 0,
) -> None:
    """Show what augmentation does to pictures and sound.

    Writes frames.png, sound.png and WAV files to listen to: each sample as it is, then augmented.

    Example: [bold]affectstream train preview --data prepared/ravdess -o preview[/bold]
    """
    from affectstream.train.loader.preview import preview as write

    for path in write(data, output, split=split, count=count, seed=seed, seconds=seconds):
        print(path)
