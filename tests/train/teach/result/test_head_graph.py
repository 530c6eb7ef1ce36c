"""The graph of a taught head gives what was fitted, for every set of modalities."""

from itertools import combinations

import numpy as np
import pytest

pytest.importorskip("threadpoolctl", reason="teaching needs the 'teach' extra")

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.devices.open import open_engine
from affectstream.engines.labels import MODALITIES
from affectstream.train.teach.data.evidence import evidence_of, pooling
from affectstream.train.teach.fit.correction import Amount, Base, Correction
from affectstream.train.teach.result.head_graph import write_taught_head
from tests.support.small_bundles import plain

SETS = [set(s) for n in (1, 2, 3) for s in combinations(MODALITIES, n)]


def feeds_of(head):
    """One row for each set of modalities, with some frames missing."""
    generator = np.random.default_rng(0)
    feeds = {}
    for name, spec in head.inputs.items():
        shape = (len(SETS), *map(int, spec.shape[1:]))
        if name.endswith("_mask"):
            here = np.array([name.removesuffix("_mask") in s for s in SETS])
            feeds[name] = here[:, None] & (
                generator.random(shape) < (1.1 if shape[1] == 1 else 0.8)
            )
            feeds[name][here, -1] = True
        else:
            feeds[name] = generator.normal(size=shape).astype(np.float32)
    return feeds


def correction_of(evidence, bundle, new):
    """Numbers at random, with `new` labels more than the bundle has."""
    generator = np.random.default_rng(1)
    calibration, old = bundle.manifest.calibration, evidence.logits.shape[1]
    labels = old + new

    def draw(*shape):
        return generator.normal(size=shape)

    widths = {m: e.shape[1] for m, e in evidence.embeddings.items()}
    return Correction(
        Amount("embeddings", 1.0, 1.0),
        Base.of(calibration, labels, 1 / 6),
        bias=draw(labels),
        scale=0.2,
        set_scale={"video": -0.1},
        gain={m: float(draw(1)[0]) for m in widths},
        offset={m: draw(labels) for m in widths},
        matrix={m: draw(width, labels) for m, width in widths.items()},
    )


@pytest.mark.parametrize("new", [0, 2])
@pytest.mark.parametrize("name", ["small", "pocket"])
def test_the_graph_gives_what_was_fitted(name, new, tmp_path):
    folder = POCKET if name == "pocket" else plain(tmp_path / "small", steps={"text": 6})
    with Bundle.open(folder) as bundle:
        head = bundle.engines["fusion"]
        feeds = feeds_of(head)
        old = head.run(feeds)["logits"]
        evidence = evidence_of(bundle, feeds, old)
        correction = correction_of(evidence, bundle, new)
        temperatures = {
            "+".join(m for m in MODALITIES if m in s): 0.5 + n for n, s in enumerate(SETS)
        }
        weights = {m: pooling(bundle, m) for m in MODALITIES}
        head_file = folder / bundle.manifest.engines.fusion.file
        write_taught_head(head_file, correction, temperatures, weights, tmp_path / "new.onnx")
    with open_engine(tmp_path / "new.onnx", "cpu") as taught:
        found = taught.run(feeds)["logits"]
    scale = np.array([temperatures[str(s)] for s in evidence.sets])[:, None]
    expected = correction.added(evidence) * scale
    expected[:, : old.shape[1]] += old
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_other_outputs_pass_through(tmp_path):
    folder = plain(tmp_path / "small", answers=("logits", "valence"))
    with Bundle.open(folder) as bundle:
        head = bundle.engines["fusion"]
        feeds = feeds_of(head)
        before = head.run(feeds)
        correction = correction_of(evidence_of(bundle, feeds, before["logits"]), bundle, 0)
        temperatures = {"+".join(m for m in MODALITIES if m in s): 1.0 for s in SETS}
        weights = {m: pooling(bundle, m) for m in MODALITIES}
        write_taught_head(
            folder / "fusion.onnx", correction, temperatures, weights, tmp_path / "n.onnx"
        )
    with open_engine(tmp_path / "n.onnx", "cpu") as taught:
        after = taught.run(feeds)
    assert set(after) == {"logits", "valence"}
    np.testing.assert_array_equal(after["valence"], before["valence"])
