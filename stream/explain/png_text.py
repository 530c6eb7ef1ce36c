"""Texts in a PNG file, which image viewers show among its properties."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

_HEADER = 8 + 4 + 4 + 13 + 4
"""Bytes of the signature and of the first chunk."""


def with_texts(png: bytes, texts: Mapping[str, str]) -> bytes:
    """`png` with a chunk iTXt (PNG, 11.3.3.4) for each of `texts`, by its keyword: 1 to 79 Latin letters."""
    chunks = b"".join(
        _chunk(b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode())
        for keyword, text in texts.items()
    )
    return png[:_HEADER] + chunks + png[_HEADER:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
