"""Options that several commands of `bench` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DemoFile = Annotated[
    Path | None, typer.Argument(help="A recording.", show_default="the demo's clip, repeated")
]


DemoSource = Annotated[
    Path | None,
    typer.Option(help="The recording that is used.", show_default="the demo's clip"),
]
JsonFolder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Folder for JSON and pictures.",
        show_default="none",
        file_okay=False,
    ),
]
OnlyJson = Annotated[bool, typer.Option("--json", help="Print nothing but the JSON.")]
Files = Annotated[list[Path], typer.Argument(help="Recordings.", show_default=False)]


def parse_numbers(text: str, option: str, largest: int) -> list[int]:
    """Such as ``1,2,4``. Raises `typer.BadParameter` for others than 1 to `largest`."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1 or max(numbers) > largest:
        raise typer.BadParameter(
            f"{text!r}: expected numbers from 1 to {largest}, such as 1,2,4", param_hint=option
        )
    return numbers


def parse_minutes(text: str) -> list[float]:
    """Such as ``0.5,1,480``. Raises `typer.BadParameter` for others than a quarter of one to a day."""
    try:
        minutes = [float(part) for part in text.split(",")]
    except ValueError:
        minutes = [0.0]
    if not all(0.25 <= minute <= 24 * 60 for minute in minutes):
        raise typer.BadParameter(
            f"{text!r}: expected numbers from 0.25 to 1440, such as 0.5,1,480",
            param_hint="--minutes",
        )
    return minutes


def parse_pythons(texts: list[str]) -> dict[str, Path]:
    """Paths by name, from such as ``fer=/opt/fer/bin/python``. Raises `typer.BadParameter` for others."""
    found = {}
    for text in texts:
        name, _, path = text.partition("=")
        if not name or not Path(path).is_file():
            raise typer.BadParameter(
                f"{text!r}: expected NAME=PATH with the path of a Python, such as "
                "fer=/opt/fer/bin/python",
                param_hint="--python",
            )
        found[name] = Path(path)
    return found
