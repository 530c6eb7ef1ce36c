"""Clock, power and load of a GPU as nvidia-smi reads them; nothing is changed."""

from __future__ import annotations

import subprocess
from typing import Any

_FIELDS = (
    "name",
    "driver_version",
    "clocks.sm",
    "clocks.max.sm",
    "clocks.mem",
    "power.draw",
    "power.limit",
    "temperature.gpu",
    "utilization.gpu",
    "memory.used",
    "memory.total",
    "pstate",
)


def gpu_state(ordinal: int = 0) -> dict[str, Any]:
    """The fields of nvidia-smi by name, as it prints them; empty without nvidia-smi or GPU."""
    query = ["nvidia-smi", f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(
            [*query, f"--id={ordinal}"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    values = [value.strip() for value in found.stdout.split(",")]
    return dict(zip(_FIELDS, values, strict=False)) if len(values) == len(_FIELDS) else {}
