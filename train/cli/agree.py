"""`affectstream agree`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from affectstream.stream.cli.flags import parse_seconds
from affectstream.train.cli.flags import Rename, SkipTier, folder_option, parse_pairs, parse_renames


def agree(
    first: Annotated[Path, typer.Argument(help="A: results, annotations, or a folder of them.")],
    second: Annotated[Path, typer.Argument(help="B: the same recordings, by another coder.")],
    kind: Annotated[
        str, typer.Option(help="What labels are of, where a file does not say.")
    ] = "emotion",
    person: Annotated[
        list[str] | None, typer.Option(help="Who is who, as 1=interviewee (A=B); repeat.")
    ] = None,
    rename: Rename = None,
    skip_tier: SkipTier = None,
    tolerance: Annotated[
        str, typer.Option(help="A label that the other side has this near agrees.")
    ] = "0.5s",
    offset: Annotated[
        float, typer.Option(help="Seconds added to the times of B.", min=-3600, max=3600)
    ] = 0.0,
    step: Annotated[
        float, typer.Option(help="Seconds between the moments compared.", min=0.01, max=10)
    ] = 0.1,
    output: Annotated[
        Path | None,
        folder_option(help="Also write JSON, the disagreements as a list, and pictures here."),
    ] = None,
) -> None:
    """Measure how well two annotations of the same recordings agree: results, or people's.

    Reads results of `score`, ELAN (.eaf), Praat (.TextGrid), BORIS and other tables (.csv, .tsv), and
    iMotions exports (.txt). No side is the truth: the word is agreement, not accuracy.

    Example: [bold]affectstream agree results interview.eaf --person 1=guest -o agreement[/bold]
    """
    from affectstream.train.agreement.agree import agree as compare
    from affectstream.train.agreement.outcome import Settings
    from affectstream.train.agreement.report import lines, write
    from affectstream.train.annotations.read import check_skipped, read

    settings = Settings(
        step=step,
        tolerance=parse_seconds(tolerance, "--tolerance"),
        offset=offset,
        persons=parse_pairs(person, "--person"),
        rename=parse_renames(rename),
    )
    skip = skip_tier or ()
    sides = read(first, kind, skip), read(second, kind, skip)
    check_skipped(skip, [one for side in sides for one in side])
    found = compare(*sides, settings)
    print("\n".join(lines(found)))
    if output is not None:
        written = write(found, *sides, output)
        print(f"\n{len(written)} files in {output}; to review: {written[1].name}")
