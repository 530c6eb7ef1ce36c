"""Weights in other files are found wherever ONNX may hold a tensor."""

import pytest

from affectstream.engines.bundle.external_weights import MESSAGES, TENSOR, has_external_weights
from affectstream.engines.bundle.folder import POCKET

onnx = pytest.importorskip("onnx", reason="graphs are made with the package onnx")


def paths_to_a_tensor():
    """Each path of fields from a model to a tensor, once through each message type."""
    pending, paths = [(onnx.ModelProto.DESCRIPTOR, ())], []
    while pending:
        message, path = pending.pop()
        for field in message.fields:
            kind = field.message_type
            if kind is not None and kind.name == TENSOR:
                paths.append((*path, field))
            elif kind is not None and kind not in [step.message_type for step in path]:
                pending.append((kind, (*path, field)))
    return paths


PATHS = paths_to_a_tensor()


def test_the_table_has_every_field_that_leads_to_a_tensor():
    steps = {(f.containing_type.name, f.number, f.message_type.name) for p in PATHS for f in p}
    assert steps == {
        (message, number, kind)
        for message, kinds in MESSAGES.items()
        for number, kind in kinds.items()
    }


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(field.name for field in path))
def test_a_tensor_in_another_file_is_found(tmp_path, path):
    def write(location):
        model = message = onnx.ModelProto()
        for field in path:
            message = getattr(message, field.name)
            message = message.add() if field.is_repeated else message
        if location:
            message.data_location = onnx.TensorProto.EXTERNAL
            message.external_data.add(key="location", value=location)
        message.raw_data = b"\x72\x01" * 20
        file = tmp_path / "graph.onnx"
        file.write_bytes(model.SerializeToString())
        return file

    assert has_external_weights(write("/etc/passwd"))
    assert not has_external_weights(write(""))


def test_graphs_nested_deeper_than_the_stack_are_read(tmp_path):
    tensor = b"\x70\x01"  # data_location: EXTERNAL

    def field(number, content):
        size = len(content)
        digits = bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14 & 127])
        return bytes([number << 3 | 2]) + digits + content

    nested = field(5, tensor)
    for _ in range(2000):
        nested = field(1, field(5, field(6, nested)))
    (tmp_path / "deep.onnx").write_bytes(field(7, nested))
    assert has_external_weights(tmp_path / "deep.onnx")


@pytest.mark.parametrize(
    "content",
    [b"", b"\x3a", b"\x3a\x7f", b"\x3b\x3c", b"\x09\x00", b"\x08" + b"\xff" * 10, b"hello"],
)
def test_what_is_not_protobuf_is_an_error(tmp_path, content):
    (tmp_path / "graph.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"wire type|ends within|too long|empty file"):
        has_external_weights(tmp_path / "graph.onnx")


def test_pocket_has_its_weights_inside():
    assert not any(map(has_external_weights, POCKET.glob("*.onnx")))
