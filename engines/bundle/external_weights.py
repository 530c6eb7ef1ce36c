"""Finds ONNX files that keep weights in other files.

A bundle's manifest has one SHA-256 for each graph. It does not cover weights in another file, and a graph may
name any file of the machine. The package ``onnx`` may be missing, so this module walks the protobuf
messages itself.
"""

from __future__ import annotations

import mmap
from pathlib import Path

TENSOR = "TensorProto"
MESSAGES: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: TENSOR, 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: TENSOR,
        6: "GraphProto",
        10: TENSOR,
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: TENSOR, 2: TENSOR},
    TENSOR: {},
}
"""The fields of onnx.proto that lead to a tensor, by number, with the message that each holds."""
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of a TensorProto
_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}  # wire type: bytes


def has_external_weights(path: Path) -> bool:
    """Whether a tensor of the ONNX file `path` refers to another file.

    Raises `OSError` when the file cannot be read, `ValueError` when it is not protobuf.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        messages = [("ModelProto", 0, len(data))]
        while messages:  # not recursive: a file may nest its graphs deeply
            message, at, end = messages.pop()
            while at < end:
                tag, at = _varint(data, at, end)
                number, wire = tag >> 3, tag & 7
                value, size = 0, _FIXED.get(wire, 0)
                if wire in (_VARINT, _BYTES):
                    value, at = _varint(data, at, end)
                    size = value if wire == _BYTES else 0
                elif not size:
                    raise ValueError(f"unknown wire type {wire} at byte {at}")
                if size > end - at:
                    raise ValueError(f"it ends within the field at byte {at}")
                if message == TENSOR and (
                    number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value)
                ):
                    return True
                if wire == _BYTES and number in MESSAGES[message]:
                    messages.append((MESSAGES[message][number], at, at + size))
                at += size
    return False


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """The number at `at`, and where the next field begins."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise ValueError(f"it ends within the number at byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"the number at byte {at} is too long")
