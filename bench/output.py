"""How a bench ends: its result as JSON, and files with a picture where they are asked for."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any


def tables(*, hidden: bool) -> AbstractContextManager[object]:
    """Around the measurement: `hidden` drops what it prints, so that only the JSON of the end is left."""
    return contextlib.redirect_stdout(io.StringIO()) if hidden else contextlib.nullcontext()


def finish(
    name: str,
    result: dict[str, Any],
    output: Path | None = None,
    draw: Callable[[Path], object] | None = None,
) -> None:
    """Print `result` as JSON. With `output` also write ``NAME.json`` and what `draw` draws into it.

    `draw` gets the path of ``NAME.png``. Without matplotlib there is no picture, and a note on stderr.
    """
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        if draw is not None:
            try:
                draw(output / f"{name}.png")
            except ImportError as error:
                print(f"no picture: {error}: pip install matplotlib", file=sys.stderr)
    print(json.dumps(result))
