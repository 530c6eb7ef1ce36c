"""Measuring a face encoder, with one that reads the label from the bright spot of a made-up face."""

import cv2
import msgspec
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="evaluation needs the 'train' extra")

from affectstream.engines.labels import EMOTIONS_7
from affectstream.train.data.degrade import FACES, degrade_faces
from affectstream.train.errors import DataError
from affectstream.train.evaluate.parts import face_encoder
from tests.support.prepared import LABELS, samples, write


class Spotter:
    """Sees the brightest quarter of a picture; `LABELS` are its quarters."""

    labels = EMOTIONS_7

    def __init__(self, path):
        self.path = path
        path.write_bytes(b"0" * 1000)

    def __call__(self, crops):
        half = crops.shape[1] // 2
        quarters = [crops[:, y : y + half, x : x + half] for y in (0, half) for x in (0, half)]
        brightness = np.stack([part.mean((1, 2, 3)) for part in quarters], 1).astype(np.float32)
        logits = np.zeros((len(crops), len(self.labels)), np.float32)
        logits[:, [self.labels.index(label) for label in LABELS]] = brightness
        return brightness, logits

    def milliseconds(self, crops):
        return 0.5


def test_an_encoder_is_measured_as_it_is_degraded_and_by_a_linear_layer(tmp_path):
    data = write(tmp_path / "set", [*samples(40, "train"), *samples(24, "valid")])
    found = face_encoder.evaluate(Spotter(tmp_path / "a.onnx"), data, "valid", data)
    by_name = {part.pictures: part for part in found.agreements}
    assert list(by_name) == ["as they are", "mean of both mirror images", *FACES]
    assert by_name["as they are"].count == 24
    assert by_name["as they are"].accuracy.value == by_name["in color"].accuracy.value == 1.0
    assert by_name["mirrored"].accuracy.value == 0.0  # the spots are exchanged
    assert found.linear.accuracy.value == 1.0
    assert np.array(found.confusion).sum() == np.trace(found.confusion) == 24
    text = "\n".join(face_encoder.lines(found))
    assert "turned by 30 degrees" in text and "0.00 MB; 0.50 ms" in text
    assert msgspec.json.decode(msgspec.json.encode(found))["megabytes"] == 0.001
    face_encoder.write(found, tmp_path / "out")
    written = msgspec.json.decode((tmp_path / "out" / "face_encoder.json").read_bytes())
    assert written["confusion"] == [list(row) for row in found.confusion]
    assert cv2.imread(str(tmp_path / "out" / "confusion.png")).shape[:2] == (600, 720)


def test_faces_with_labels_that_the_encoder_lacks_are_refused(tmp_path):
    made = samples(8, "valid", labels=("joy", "contempt"))
    data = write(tmp_path / "set", [*samples(8, "train"), *made])
    with pytest.raises(DataError, match="has samples of contempt"):
        face_encoder.read_faces(data, "valid", EMOTIONS_7)


@pytest.mark.parametrize("name", FACES)
def test_degraded_faces_stay_faces_and_are_the_same_each_time(name, portrait):
    crops = np.stack([portrait[60:192, 160:292][:96, :96]] * 2)
    changed = degrade_faces(crops, name)
    assert changed.shape == crops.shape and changed.dtype == np.uint8
    assert (changed != crops).mean() > 0.05
    np.testing.assert_array_equal(changed, degrade_faces(crops, name))
