"""The last layers of encoders: fitted where enough is coded, and kept where those held in say so."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")
pytest.importorskip("scipy", reason="teaching needs the 'teach' extra")
pytest.importorskip("threadpoolctl", reason="teaching needs the 'teach' extra")

import msgspec
from msgspec import structs
from torch import nn

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import POCKET, read_manifest
from affectstream.engines.bundle.training import check_training
from affectstream.engines.manifest import Engines
from affectstream.stream import Recognizer, SourceOptions
from affectstream.train.explain import trained
from affectstream.train.export.bundle_folder import file_part, write_manifest
from affectstream.train.fit.warm_start import write_warm_start
from affectstream.train.loader.window_spec import WindowSpec
from affectstream.train.losses import LossConfig
from affectstream.train.model_spec import DataSource, ModelSpec
from affectstream.train.networks.network import Head, LastLayer, Network, VoiceEncoder
from affectstream.train.recipe import FitConfig
from affectstream.train.recipes.face_resnet import FaceResNet
from affectstream.train.recipes.net_recipe import NetRecipe
from affectstream.train.tasks import Task
from affectstream.train.teach.data.encoder_inputs import EncoderInputs
from affectstream.train.teach.data.hops import Evidence, Hops
from affectstream.train.teach.fit import held_out as held_out_module
from affectstream.train.teach.fit.choose import Units
from affectstream.train.teach.fit.correction import AMOUNTS, Base
from affectstream.train.teach.fit.encoder_step import EncoderStep, Refitted, enough
from affectstream.train.teach.fit.held_out import HeldOut, held_out
from affectstream.train.teach.fit.last_layers import LastLayers
from affectstream.train.teach.teach import Settings, teach
from tests.support.small_bundles import LABELS, plain
from tests.train.teach.test_teach import STATES, write_archive

VOICE = SourceOptions(vad="none")


class Loudness(VoiceEncoder):
    """A few functions of how loud it is, and one layer on them."""

    last_layers = ("project",)
    width, steps, samples = 6, 1, 16_000

    def __init__(self):
        super().__init__()
        self.below, self.project = nn.Linear(1, 8), nn.Linear(8, self.width)

    def features(self, samples):
        return (torch.relu(self.below(samples.abs().mean(1, keepdim=True))),)

    def finish(self, features):
        return torch.tanh(self.project(features)).unsqueeze(1)

    def forward(self, samples):
        return self.finish(*self.features(samples))


class Line(Head):
    takes = ("voice",)

    def __init__(self, outputs):
        super().__init__()
        self.out = LastLayer(Loudness.width, outputs)

    def forward(self, inputs):
        return self.out(inputs["voice"][:, 0])


def build(spec):
    return Network(Line(spec.outputs), voice=Loudness())


RECIPE = NetRecipe("loudness", "for this test", FitConfig(), build, ("voice",))
SPEC = ModelSpec(
    tasks=(Task("emotion", LABELS, (1, 1, 1)),),
    window=WindowSpec(("voice",), 1_000_000, 4),
    hop_us=500_000,
    crop=None,
    template=(),
    grey=False,
    vocabulary=0,
    options={},
    weights={},
    loss=LossConfig(),
    data=DataSource("made", "made", "none", "0" * 64, "0" * 64, 0, ()),
)


def network(seed=0):
    torch.manual_seed(seed)
    made = build(SPEC.network_spec(load_weights=False)).eval()
    with torch.no_grad():  # rays that part loudness, so that the frozen part tells it
        made.voice.below.weight.copy_(torch.linspace(2, 6, 8)[:, None])
        made.voice.below.bias.copy_(-torch.linspace(0, 3.5, 8))
    return made


def layers(made=None):
    made = made or network()
    return LastLayers("voice", None, replace(RECIPE, bound_spec=SPEC), made, LABELS)


def loud(count=240, seed=0):
    """Features of three loudnesses, and which it is."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 3, count)
    level = np.array([0.1, 0.4, 0.8])[truth] * generator.uniform(0.9, 1.1, count)
    sound = torch.from_numpy(np.repeat(level[:, None], 4, 1).astype(np.float32))
    with torch.no_grad():
        return network().voice.features(sound), truth


def test_last_layers_learn_as_far_as_they_may_move():
    features, truth = loud()
    check = loud(seed=1)
    moved, losses = {}, {}
    for width in (0.0, 0.1, 1.0):
        ((weights, loss),) = layers().fit(features, truth, 3, 60.0, width, (20,), check).values()
        old = layers().old
        moved[width] = float(sum((weights[n] - old[n]).square().sum() for n in old))
        losses[width] = loss
    assert moved[0.0] == 0.0 < moved[0.1] < moved[1.0]
    assert losses[1.0] < losses[0.1] < losses[0.0]


def test_a_label_that_the_head_does_not_know_is_fitted_too():
    features, truth = loud()
    truth = np.where(truth == 2, 3, truth)
    (kept,) = layers().fit(features, truth, 4, 60.0, 1.0, (20,), (features, truth)).values()
    assert kept[1] < 0.8
    assert layers().embeddings(features, kept[0]).shape == (240, Loudness.width)


def test_a_part_that_gives_other_embeddings_is_refused():
    sound = np.full((2, 16_000), 0.3, np.float32)
    found = network().voice(torch.from_numpy(sound)).detach().flatten(1).numpy()
    layers().features({"samples": sound}, found)
    rounded = found * np.array([0.93, 1.07])[np.arange(found.size) % 2].reshape(found.shape)
    layers().features({"samples": sound}, rounded)  # as of an engine with weights of 8 bits
    with pytest.raises(ValueError, match="differ by 20% from those of the engine"):
        layers().features({"samples": sound}, found / 1.2)


def test_the_parts_of_a_face_encoder_are_the_whole():
    encoder = FaceResNet(48, 8, grey=True).eval()
    pixels = torch.randint(0, 256, (2, 48, 48, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(encoder.finish(*encoder.features(pixels)), encoder(pixels), atol=1e-6)
    names = [name for name, _ in encoder.named_parameters()]
    assert all(any(n.startswith(prefix) for n in names) for prefix in encoder.last_layers)


def test_inputs_of_some_hops():
    first = EncoderInputs(np.array([[-1, 0], [0, 1]]), (torch.arange(2.0)[:, None],))
    second = EncoderInputs(np.array([[-1, -1], [0, -1]]), (torch.tensor([[7.0]]),))
    both = EncoderInputs.joined([first, second])
    assert both.index.tolist() == [[-1, 0], [0, 1], [-1, -1], [2, -1]]
    assert both.newest.tolist() == [0, 1, -1, 2]
    some, used = both.rows(np.array([3, 2]))
    assert some.index.tolist() == [[0, -1], [-1, -1]] and used.tolist() == [2]
    assert some.features[0].tolist() == [[7.0]]


def hops(people, each, seed=0):
    """Hops whose evidence says nothing, and nothing else."""
    count = people * each
    generator = np.random.default_rng(seed)
    nothing = np.zeros((count, 3))
    present = {"voice": np.ones(count, bool)}
    evidence = Evidence(nothing, {"voice": nothing}, {"voice": np.zeros((count, 2))}, present)
    who = np.repeat([f"P{n}" for n in range(people)], each)
    return Hops(LABELS, evidence, generator.integers(0, 3, count), who, who, np.arange(count) / 2)


@pytest.mark.parametrize(
    ("people", "each", "why"),
    [
        (1, 100, "1 person, expected 5"),
        (4, 100, "4 people, expected 5"),
        (6, 4, "minutes, expected"),
        (6, 300, None),
    ],
)
def test_enough_is_coded_or_not(people, each, why):
    manifest, coded = read_manifest(POCKET), hops(people, each)
    units = Units("person", np.repeat(np.arange(people), each))
    found = enough(np.ones(len(coded), bool), coded, units, manifest)
    assert found is None if why is None else why in found


def test_one_recording_of_one_person_is_not_enough():
    coded = hops(1, 300)
    units = Units("block", np.arange(300) // 60)
    found = enough(np.ones(300, bool), coded, units, read_manifest(POCKET))
    assert found == "one recording of one person, expected 5 people"


def test_one_label_is_not_enough():
    coded = hops(6, 300)
    coded = replace(coded, truth=np.zeros(len(coded), np.int64))
    units = Units("person", np.repeat(np.arange(6), 300))
    found = enough(np.ones(len(coded), bool), coded, units, read_manifest(POCKET))
    assert found is not None and "1 labels with" in found


class Telling:
    """Encoders whose evidence after fitting tells the truth, of those fitted to or of everybody."""

    def __init__(self, coded, *, everywhere):
        self.coded, self.everywhere, self.asked = coded, everywhere, []

    def _evidence(self, picked, tells):
        part = self.coded.rows(picked)
        logits = 4.0 * np.eye(3)[part.truth] if tells else part.evidence.logits
        return replace(part.evidence, logits=logits)

    def refit(self, picked, units, window_s):
        self.asked.append(set(self.coded.person[picked]))
        return Refitted(self._evidence(picked, self.everywhere), {"voice": {}}, {"voice": "told"})

    def evidence(self, picked, weights):
        assert self.asked[-1].isdisjoint(
            self.coded.person[picked]
        )  # never fitted to those reported
        return self._evidence(picked, True)


class SlowlySurer:
    """An encoder that gains by nothing but what is learned beside it, epoch by epoch."""

    def fit(self, features, truth, labels, windows, width, stops, check=None):
        return {stop: ({}, 1 / stop + 0.01 * (width > 0)) for stop in stops}


def test_leaving_the_encoder_may_learn_as_long_as_changing_it():
    coded = hops(6, 60)
    units = Units("person", np.repeat(np.arange(6), 60))
    rows = np.arange(len(coded))
    inputs = EncoderInputs(rows[:, None], (torch.zeros(len(coded), 1),))
    with Bundle.open(POCKET) as bundle:
        step = EncoderStep(
            bundle,
            coded,
            {"voice": np.zeros((len(coded), 1, 1), np.float32)},
            {"voice": inputs},
            {"voice": SlowlySurer()},
        )
        assert step._refit_one("voice", rows, coded, units, 3.0) is None


@pytest.mark.parametrize("helps_inside", [True, False])
def test_it_is_chosen_on_those_held_in(helps_inside):
    coded = hops(6, 60)
    units = Units("person", np.repeat(np.arange(6), 60))
    base = Base(np.log(np.full(3, 1 / 3)), {}, 0.5)
    encoders = Telling(coded, everywhere=helps_inside)
    found = held_out(coded, units, base, AMOUNTS[:4], 1.0, encoders)
    assert found.with_encoders == helps_inside and len(found.refitted) == 6
    assert set(found.by_step) == {"calibration", "head", "encoders"}
    right = (found.after.argmax(1) == coded.truth).mean()
    # It helps the people who are reported all the same, which must not count.
    assert right > 0.95 if helps_inside else right < 0.6


def test_what_most_folds_chose_is_kept():
    none, small = AMOUNTS[0], AMOUNTS[1]
    empty = np.zeros((0, 2))
    found = HeldOut(empty, empty, (none, small, none), (False, True, False))
    assert not found.with_encoders and found.amount == none
    found = HeldOut(empty, empty, (none, small, small), (False, True, True))
    assert found.with_encoders and found.amount == small


@pytest.mark.slow
def test_a_taught_bundle_has_new_encoders_and_their_networks(tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "recipes", lambda: {"loudness": RECIPE})
    monkeypatch.setattr(held_out_module, "EVIDENCE", -1e9)  # chosen wherever they were fitted
    base = plain(tmp_path / "base", takes=("voice",))
    bound = replace(RECIPE, bound_spec=SPEC)
    bound.export(network(), base)
    engines = Engines(
        fusion=file_part(base, "fusion.onnx"), voice_encoder=file_part(base, "voice_encoder.onnx")
    )
    write_manifest(base, structs.replace(read_manifest_raw(base), engines=engines))
    write_warm_start(network(), "loudness", msgspec.to_builtins(SPEC), base, weights=True)
    write_archive(tmp_path)
    where = (tmp_path / "rec", tmp_path / "ann")
    found = teach(*where, tmp_path / "mine", bundle=base, settings=Settings(options=VOICE))
    assert set(found.steps) == {"calibration", "head", "encoders"} and "voice" in found.encoders
    chosen, folds = found.comparison.encoders_chosen
    assert folds == 6 and 2 * chosen > folds
    old, new = read_manifest(base), read_manifest(tmp_path / "mine")
    assert old.engines.voice_encoder.sha256 != new.engines.voice_encoder.sha256
    (part,) = check_training(tmp_path / "mine", new)
    assert part.engines == {"voice_encoder": new.engines.voice_encoder.sha256}
    assert "new last layers in voice_encoder" in (tmp_path / "mine/CARD.md").read_text()
    with Recognizer.open(tmp_path / "mine", device="cpu") as recognizer:
        rows = recognizer.score(tmp_path / "rec/talk0.flac", VOICE).readings.to_pylist()
    inside = [row for row in rows if row["t_start"] % 4 >= 1 and row["joy"] is not None]
    right = [max(LABELS, key=row.get) == STATES[int(row["t_start"] // 4)] for row in inside]
    assert np.mean(right) > 0.8
    kept = teach(
        *where, tmp_path / "head", bundle=base, settings=Settings(options=VOICE, depth="embeddings")
    )
    assert "encoders" not in kept.steps and not kept.encoders
    assert kept.comparison.encoders_chosen is None


def read_manifest_raw(folder):
    """The manifest of a bundle whose engines were replaced, so that its hashes do not match."""
    import msgspec

    from affectstream.engines.manifest import Manifest

    return msgspec.json.decode((folder / "bundle.json").read_bytes(), type=Manifest)
