"""Every engine of `pocket`, on one core, with one row and with the rows of a full batch."""

import numpy as np
import pytest

from affectstream.engines.bundle.folder import POCKET, read_manifest
from affectstream.engines.graphs.feeds import random_feeds
from affectstream.engines.manifest import ROLES

PRESENT = [role for role in ROLES if getattr(read_manifest(POCKET).engines, role) is not None]


@pytest.mark.parametrize("rows", [1, 8])
@pytest.mark.parametrize("role", PRESENT)
def test_run(benchmark, bundle, role, rows):
    engine = bundle.engines[role]
    (feed,) = random_feeds(engine.inputs, 1, seed=0)
    if role == "face_detector":  # the size of a 16:9 frame, of which it sees most
        feed = {"image": np.zeros((8, 160, 256, 3), np.uint8)}
    feed = {name: np.ascontiguousarray(array[:rows]) for name, array in feed.items()}
    if any(not isinstance(spec.shape[0], str) for spec in engine.inputs.values()):
        pytest.skip("this engine takes one row at a time")
    assert benchmark(engine.run, feed)
