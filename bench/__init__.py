"""Measurements that anyone can rerun: speed, latency, memory."""

from __future__ import annotations

from importlib.metadata import version


def __getattr__(name: str) -> str:
    if name == "__version__":
        return version("affectstream")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
