"""What an explanation states of its recording: where it lies, its hash, and what it is for.

`affectstream purge` finds the explanations of a recording by path and hash.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from affectstream.engines.cache.digest import sha256
from affectstream.stream.errors import OptionError
from affectstream.stream.options import SourceOptions, valid_text
from affectstream.stream.results.origin import STATED_USE
from affectstream.stream.results.scored import RUN


def recording_stated(path: Path, options: SourceOptions) -> dict[str, Any]:
    """`source`, `input` (size and SHA-256), `purpose` and `consent`, as `run.json` states them. Raises
    `OSError` for a recording that cannot be read."""
    return {
        "source": valid_text(path.absolute()),
        "input": {"size": path.stat().st_size, "sha256": sha256(path)},
        **{name: getattr(options, name) for name in STATED_USE},
    }


def inherit_use(
    options: SourceOptions, recording: Path, output: Path, results: Path | None = None
) -> SourceOptions:
    """`options` with the purpose and the consent of the run that scored `recording`, where they state none.

    The run is that of `results`, the folder of the results of the recording, or without it that of `output`
    or the nearest folder above it with a `run.json`, if it is of the recording. A consent to another purpose
    than `options` state is not taken over. Raises `OptionError` if `results` are not those of the recording.
    """
    if results is not None:
        run = _run(results)
        if run is None:
            raise OptionError(
                f"{results}: holds no {RUN}; expected the folder of one recording's results"
            )
        if not _is_of(run, recording):
            raise OptionError(
                f"{results} holds results of {run.get('source')}, not of {recording}: expected the folder of "
                "its own results"
            )
    else:
        above = (output.absolute(), *output.absolute().parents)
        run = next((found for one in above if (found := _run(one)) is not None), None)
        if run is None or not _is_of(run, recording):
            return options
    if options.purpose is not None and options.purpose != run.get("purpose"):
        return options
    purpose, consent = options.purpose, options.consent
    return replace(
        options, purpose=purpose or run.get("purpose"), consent=consent or run.get("consent")
    )


def _run(folder: Path) -> Mapping[str, Any] | None:
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode((folder / RUN).read_bytes(), type=dict[str, Any])
    return None


def _is_of(run: Mapping[str, Any], recording: Path) -> bool:
    """Whether a run scored `recording`, by its path or its content."""
    if run.get("source") in (
        valid_text(recording.absolute()),
        valid_text(Path(os.path.realpath(recording))),
    ):
        return True
    identity = run.get("input") or {}
    try:
        same_size = recording.stat().st_size == identity.get("size")
        return same_size and sha256(recording) == identity.get("sha256")
    except OSError:
        return False
