"""Tables of the README and the docs, made from `bench/results`.

A page marks the place of a table with ``<!-- bench: NAME -->`` and ``<!-- end -->``; everything between is
written here. `NAME_MACHINE.json` in `bench/results` is what the bench of that name printed on this machine.

    affectstream bench tables README.md docs/guides/*.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from affectstream.engines.errors import UsageError

MACHINE = "epyc_2core"
RESULTS = Path("bench/results")
"""In a checkout: the results are not part of what is installed."""
_MARKED = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
Result = dict[str, Any]
Read = Callable[[str], Result]
"""The result of a bench by its name."""


class _NotMeasured(Exception):
    """There is no result of the bench of that name."""


def main(pages: Sequence[Path], results: Path, machine: str) -> None:
    """Write all tables of `pages` again, and name the pages that changed."""
    for page in pages:
        text = page.read_text(encoding="utf-8")
        written = write_tables(text, results, machine)
        if written != text:
            page.write_text(written, encoding="utf-8")
            print(f"wrote the tables of {page}")


def write_tables(text: str, results: Path = RESULTS, machine: str = MACHINE) -> str:
    """`text` with each marked table made again.

    Raises `UsageError` for an unknown table, a missing folder and a damaged result.
    """
    if not results.is_dir():
        raise UsageError(f"{results}: no such folder: run this in a checkout, or give --results")

    def read(name: str) -> Result:
        path = results / f"{name}_{machine}.json"
        try:
            found: Result = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise _NotMeasured(name) from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: no result of 'bench {name}': {error}") from None
        return found

    def table(marked: re.Match[str]) -> str:
        begin, name, end = marked.groups()
        if name not in TABLES:
            raise UsageError(f"no table {name!r}: expected one of {', '.join(TABLES)}")
        try:
            made = TABLES[name](read)
        except _NotMeasured as missing:
            command, _, kind = str(missing).partition("_")
            run = f"run for {kind.replace('_', ' ')}" if kind else "run"
            made = f"`affectstream bench {command}` has not been {run} on this machine."
        return f"{begin}\n{made}\n\n{end}"

    return _MARKED.sub(table, text)


def _speed(read: Read) -> str:
    speed, memory = read("score"), read("memory")
    minutes = memory["media_s"] / 60
    span = f"{minutes / 60:.2g} hours" if minutes >= 90 else f"{minutes:.0f} minutes"
    rows = [
        ("speed of `score`, times real time", f"{speed['realtime']:.0f}", "10"),
        (
            "processor time, against decoding alone plus inference alone",
            f"{speed['cpu_ratio']:.2f}",
            "1.25",
        ),
        ("wall time, against the same sum", f"{speed['wall_ratio']:.2f}", "0.70"),
        (f"memory growth over {span}, in MB", f"{memory['growth_mb']:.0f}", ""),
        ("memory at its peak, in MB", f"{memory['peak_mb']:.0f}", ""),
    ]
    table = _table(("speed on 2 cores (AMD EPYC), 640x360", "measured", "aim"), rows)
    bundle = memory.get("bundle", "pocket 0.1.0")  # results before 0.3.0 do not state it
    return f"{table}\n\nMemory was measured with `{bundle}`."


def _rivals(read: Read) -> str:
    result, rows, missing = read("rivals"), [], []
    for row in result["rows"]:
        if "not_run" in row:
            missing.append(f"{row['title']} was not run.")
            continue
        star = "" if row.get("stable", True) else "*"
        ratios = [f"{row[k]:.2f}{star}" if k in row else "" for k in ("wall_ratio", "cpu_ratio")]
        figures = (f"{row['realtime']:.1f}", f"{row['cpu_ms_per_look']:.1f}", f"{row['peak_mb']}")
        rows.append((row["title"], row["computes"], f"{row['looks']}", *figures, *ratios))
    head: tuple[str, ...] = ("program", "what comes out", "pictures looked at", "times real time")
    head += ("processor ms a look", "MB", "wall time, theirs over ours", "processor time")
    pictures = result["rows"][0]["frames"]
    caption = (
        f"The demo's clip ({result['media_s']:g} s, 640x360, {pictures} pictures), median of "
        f"{result['rounds']} pairs; load {result['load_before']:g} before the run. A star marks ratios that "
        "vary by more than 10 %."
    )
    return "\n\n".join([caption, _table(head, rows), *([" ".join(missing)] if missing else [])])


def _loadgen(read: Read) -> str:
    result, rows = read("loadgen"), []
    for row in result["rows"]:
        if row["scenario"] == "Server" and not row.get("peak"):
            continue
        latency = row["latency_ms"]
        rate = row.get("completed_per_s")
        cells = [row["scenario"], f"{row['batch']}", "" if rate is None else f"{rate:.1f}"]
        cells += [f"{latency[key]:.1f}" for key in ("mean", "p90", "p99")]
        rows.append((*cells, "valid" if row["valid"] else "**invalid**"))
    caption = (
        f"`{result['bundle']}`, {result['workers']} workers, p99 of Server within {result['limit_ms']:g} ms; "
        f"load {result['load_before']:g} before the run. Of Server the highest valid rate is shown."
    )
    head = (
        "scenario",
        "largest batch",
        "hops a second",
        "mean ms",
        "p90 ms",
        "p99 ms",
        "LoadGen says",
    )
    return f"{caption}\n\n{_table(head, rows)}"


def _cost(read: Read) -> str:
    result, parts = read("cost"), []
    for growth in result["growth"]:
        found, line, rows = growth["exponent"], growth["line"], []
        others = ("wall s", "x real time", "peak MB", "delay p95 ms", "lowered")
        keys = [key for key in others if any(key in row for row in growth["rows"])]
        for row in growth["rows"]:
            star = "" if row["stable"] else "*"
            cells = [row["label"], f"{row['x']:.3g}", f"{row['cost']:.3g}{star}"]
            rows.append([*cells, *(f"{row[key]:.3g}" if key in row else "" for key in keys)])
        parts.append(_table((growth["name"], growth["x"], growth["y"], *keys), rows))
        if found is not None and line is not None:
            bounds = "" if found["low"] is None else f" ({found['low']:.2f} to {found['high']:.2f})"
            parts.append(
                f"Exponent {found['value']:.2f}{bounds}; {line['fixed']:.3g}, and {line['each']:.3g} for "
                f"each {growth['each']}."
            )
    caption = (
        f"`{result['bundle']}`, {result['source']}, median of {result['rounds']} rounds; load "
        f"{result['load_before']:g} before the run. A star marks costs whose rounds (of sessions, "
        "the delays) vary by more than 10 %."
    )
    return "\n\n".join([caption, *parts])


def _sessions(read: Read, name: str = "sessions") -> str:
    result, rows = read(name), []
    for row in result["rows"]:
        times = ("latency_p50", "latency_p95", "latency_p99", "delay_p95", "delay_p99")
        cells = [f"{row['sessions']}", *(_ms(row.get(key)) for key in times)]
        cells += [f"{row['frame_hz']:.1f}", f"{row['lowered']}", f"{row['dropped_share']:.1%}"]
        cells += [f"{row['ended_early']}", f"{row['cpu']:.2f}", f"{row['client_cpu']:.2f}"]
        rows.append([cell.replace("%", " %") for cell in cells])
    head: tuple[str, ...] = ("sessions", "latency p50", "p95", "p99", "delay p95", "delay p99")
    head += ("frames analyzed per second", "lowered", "dropped", "ended", "cores", "clients' cores")
    counts = [row["sessions"] for row in result["rows"]]
    gives = [r["sessions"] for r in result["rows"] if r["lowered"] or r["dropped_share"]]
    least = max((count for count in counts if count < min(gives, default=1000)), default=0)
    caption = (
        f"{result['seconds']:g} s each, load {result['load_before']:g} before the run. "
        f"Nothing is given up with up to {least} sessions."
    )
    return f"{_table(head, rows)}\n\n{caption}"


def _live(read: Read) -> str:
    result, rows = read("live"), []
    for row in result["sources"]:
        if "not_measured" in row:
            continue
        spans = [
            " / ".join(f"{v:.0f}" for v in row[key] or ()) or "-"
            for key in ("age_ms", "latency_ms")
        ]
        opens = f"{row['opens_s']:.1f} s"
        cells = [row["source"], opens, f"{row['events_s']:.1f}"]
        cells += [_ms(row["way_ms"]), *spans, _ms(row["skew_ms"]), f"{row['lost']}"]
        rows.append((*cells, f"{100 * row['cpu']:.0f} % of a core"))
    head = ("source", "opens in", "events a second", "transit", "`age_ms` p50 / p95 / p99")
    table = _table((*head, "`latency_ms` p50 / p95 / p99", "skew", "lost", "CPU"), rows)
    return (
        f"{table}\n\n{result['seconds']:g} s each, load {result['load_before']:g} before the run."
    )


TABLES: dict[str, Callable[[Read], str]] = {
    "speed": _speed,
    "rivals": _rivals,
    "loadgen": _loadgen,
    "cost": _cost,
    "sessions": _sessions,
    "sessions_two_processes": partial(_sessions, name="sessions_two_processes"),
    "live": _live,
}
"""By the name that a page marks."""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    first, *others = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    lines = [first, "|" + "---|" * len(head), *others]
    return "\n".join(line.replace("|  |", "| |").replace("|  |", "| |") for line in lines)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"
