"""One answer to `GET /metrics` from those of all workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from affectstream.stream.serve.workers.board import WorkerState


def merge_metrics(texts: Mapping[int, str], states: Sequence[WorkerState]) -> str:
    """The metrics of all workers in Prometheus's text format, each sample with the label ``worker``.

    `texts` are those of each worker, by number. Which workers serve, and how often each was started again, is
    added.
    """
    families: dict[str, list[str]] = {}
    for number, text in sorted(texts.items()):
        name = ""
        for line in text.splitlines():
            if line.startswith("# "):
                name = line.split(" ", 3)[2]
                family = families.setdefault(name, [])
                if line not in family:
                    family.append(line)
            elif line:
                families.setdefault(name, []).append(_with_worker(line, number))
    families["affectstream_worker_up"] = [
        "# HELP affectstream_worker_up Whether a worker serves.",
        "# TYPE affectstream_worker_up gauge",
        *(f'affectstream_worker_up{{worker="{s.number}"}} {float(s.ready)}' for s in states),
    ]
    families["affectstream_worker_restarts_total"] = [
        "# HELP affectstream_worker_restarts_total How often a worker died and was started again.",
        "# TYPE affectstream_worker_restarts_total counter",
        *(
            f'affectstream_worker_restarts_total{{worker="{s.number}"}} {float(max(0, s.starts - 1))}'
            for s in states
        ),
    ]
    return "".join(f"{line}\n" for family in families.values() for line in family)


def _with_worker(sample: str, number: int) -> str:
    name, brace, rest = sample.partition("{")
    if brace:
        return f'{name}{{worker="{number}",{rest}'
    name, _, value = sample.partition(" ")
    return f'{name}{{worker="{number}"}} {value}'
