"""What a table of readings belongs to: the stream, and how it was scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import msgspec

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.events import SCHEMA
from affectstream.stream.options import SourceOptions

METADATA_KEY = b"affectstream"
"""The key of the metadata in the schema of a table (Arrow, Parquet)."""
STATED_USE = ("purpose", "consent")
"""The options that every result file repeats where the user has stated them."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What results belong to."""

    stream: str
    """The name of the recording or source, as in its events."""
    labels: tuple[str, ...]
    """The labels of the bundle, in the order of the scores."""
    options: Mapping[str, Any]
    """The options that differ from their default, as `SourceOptions.described` gives them."""
    metadata: dict[bytes, bytes]
    """JSON with `stream`, `affectstream`, `schema`, `bundle` and `options`, under `METADATA_KEY`. It holds
    neither times nor folders, so two runs write the same bytes."""

    @classmethod
    def of(cls, bundle: Bundle, stream: str, options: SourceOptions) -> Origin:
        """The origin of what `bundle` computes of `stream`."""
        manifest = bundle.manifest
        about = {
            "stream": stream,
            "affectstream": version("affectstream"),
            "schema": SCHEMA,
            "bundle": {"name": manifest.name, "version": manifest.version},
            "options": options.described(),
        }
        metadata = {METADATA_KEY: msgspec.json.encode(about)}
        return cls(stream, manifest.labels, options.described(), metadata)
