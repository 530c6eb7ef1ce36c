"""`affectstream train prepare` and `train preview`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from affectstream.stream.errors import OptionError
from affectstream.train.cli.flags import folder_option, parse_pairs, with_fields
from affectstream.train.data.options import FOR_ALL_SETS, PrepareConfig
from affectstream.train.data.readers import reader_names
from affectstream.train.progress import progress_bar

_PAIRS = {
    "columns": "OURS=YOURS, such as text=Transcript",
    "translate": "OLD=EMOTION, such as happy=joy",
}


@with_fields(PrepareConfig, FOR_ALL_SETS)
def prepare(
    name: Annotated[
        str, typer.Argument(metavar="SET", help=f"One of {', '.join(reader_names())}.")
    ],
    source: Annotated[Path, typer.Argument(help="Folder, archive or table of the data set.")],
    output: Annotated[Path, folder_option(help="Folder of the data set.")],
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the face detector.")] = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start again if OUTPUT holds a data set.")
    ] = False,
    **settings: Any,
) -> None:
    """Turn a data set into the one format that every recipe reads.

    An interrupted run continues where it stopped. OUTPUT then holds samples-*.parquet, dataset.json,
    report.json and samples.png, a sheet of samples to look at.

    Example: [bold]affectstream train prepare ravdess DATA/ravdess --output prepared/ravdess[/bold]
    """
    from affectstream.train.data.prepare.prepare import prepare as run
    from affectstream.train.data.prepare.prepare import remove_prepared
    from affectstream.train.data.prepare.report import REPORT, SHEET, summary, write_report
    from affectstream.train.data.readers import load_reader

    reader = load_reader(name)
    given = {setting: value for setting, value in settings.items() if value is not None}
    flag_of = {field.name: field.metadata.get("flag", "") for field in fields(PrepareConfig)}
    for setting in given:
        if setting not in reader.options | FOR_ALL_SETS:
            raise OptionError(f"{flag_of[setting]} means nothing for {name}")
    if {"frames", "rate"} <= set(given):
        raise OptionError("--frames and --rate exclude each other: give one")
    for setting, expected in _PAIRS.items():
        if setting in given:
            given[setting] = parse_pairs(given[setting], flag_of[setting], expected)
    config = PrepareConfig(set=name, **{"size": reader.size, **given})
    if overwrite:
        remove_prepared(output)
    with progress_bar(name) as advance:
        prepared = run(config, source, output, threads=threads, on_progress=advance)
    report = write_report(output, prepared)
    if prepared.resumed:
        print(f"continued after {prepared.resumed} files or rows of an earlier run")
    print(*summary(prepared, report), sep="\n")
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
