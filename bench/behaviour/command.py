"""Runs the sections and prints what they find; see `docs/guides/behaviour.md`.

affectstream bench behaviour --data DATA --output pictures
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from affectstream.bench.behaviour.report import NotMeasured, Report, print_report
from affectstream.bench.behaviour.section_list import SECTIONS
from affectstream.bench.behaviour.sheet import write_sheet
from affectstream.bench.behaviour.workbench import Workbench
from affectstream.bench.machine import describe
from affectstream.bench.output import finish, tables
from affectstream.engines.errors import UsageError
from affectstream.engines.labels import SpeechGateOption
from affectstream.stream import Recognizer


def main(
    data: Path,
    bundle: str,
    only: Sequence[str],
    teacher: Path | None,
    output: Path | None,
    *,
    vad: SpeechGateOption = "silero",
    as_json: bool = False,
) -> None:
    """Measure and print, JSON last; with `as_json` nothing else.

    With `output` also write `behaviour.json` and, if a section has pictures, `behaviour.png` into it.
    Raises `UsageError` for a section that does not exist.
    """
    unknown = [name for name in only if name not in SECTIONS]
    if unknown:
        raise UsageError(f"--only {unknown[0]}: expected one of {', '.join(SECTIONS)}")
    with tables(hidden=as_json):
        reports, seconds, version = run(data, bundle, only or list(SECTIONS), teacher, vad)
    result: dict[str, Any] = {
        "bench": "behaviour",
        "bundle": version,
        "vad": vad,
        "sections": {
            name: {**report.as_json(), "seconds": round(seconds[name], 1)}
            for name, report in reports.items()
        },
        "machine": describe(),
    }
    finish("behaviour", result, output, lambda path: write_sheet(path, reports))


def run(
    data: Path,
    bundle: str,
    names: Sequence[str],
    teacher: Path | None,
    vad: SpeechGateOption = "silero",
) -> tuple[dict[str, Report], dict[str, float], str]:
    """Measure and print the sections `names`: their reports, durations in seconds, and the bundle."""
    reports: dict[str, Report] = {}
    seconds: dict[str, float] = {}
    with (
        Recognizer.open(bundle) as recognizer,
        tempfile.TemporaryDirectory(prefix="affectstream-") as folder,
    ):
        manifest = recognizer.bundle.manifest
        version = f"{manifest.name} {manifest.version}"
        print(f"bundle {version}, data {data}")
        bench = Workbench(recognizer, bundle, data, Path(folder), teacher, vad)
        for name in names:
            section = SECTIONS[name]
            started = time.perf_counter()
            try:
                reports[name] = section.measure(bench)
            except NotMeasured as reason:
                reports[name] = Report(not_measured=str(reason))
            seconds[name] = time.perf_counter() - started
            print_report(name, section.question, reports[name])
            print(f"({seconds[name]:.0f} s)", flush=True)
    return reports, seconds, version
