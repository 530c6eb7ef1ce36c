"""Explanations from inside a network: attention, gradients, saliency, and that they depend on its weights."""

import json
import re
from copy import deepcopy
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")
pytest.importorskip("captum", reason="explanations of networks need the 'train' extra")

from affectstream.stream.errors import OptionError
from affectstream.stream.explain.draw import draw_spectrogram
from affectstream.train.cli import application
from affectstream.train.config import FitConfig
from affectstream.train.errors import RunError
from affectstream.train.explain import explain as explain_module
from affectstream.train.explain.attention import LayerAttention, attention_of, rollout
from affectstream.train.explain.draw import beyond_even, color_scale, draw_heads
from affectstream.train.explain.explain import explain_network, explain_sample
from affectstream.train.explain.gradients import PartialNetwork, grad_cam, sound_saliency
from affectstream.train.explain.sanity import ALIKE, compare_maps
from affectstream.train.explain.trained import (
    TrainedNetwork,
    choose_target,
    load_trained,
    read_sample,
)
from affectstream.train.fit.loop import fit
from affectstream.train.networks.mel import LogMel
from affectstream.train.networks.sequences import half_life_of, set_half_life
from affectstream.train.recipes.registry import recipes
from tests.support.prepared import LABELS, utterances, write

CONFIG = FitConfig(epochs=6, batch_size=8, learning_rate=3e-3, weight_decay=0.0, warmup_epochs=0.0)


def config_of(name, **changes):
    multiple = recipes()[name].multiple
    size = -(-48 // multiple) * multiple
    return replace(CONFIG, ema_decay=0.5, tiny=True, size=size, augment=False, **changes)


@pytest.fixture(scope="module")
def network(data):
    """Of a recipe's name: its network with random weights, and a sample."""

    @cache
    def made(name):
        torch.manual_seed(0)
        bound = recipes()[name].bind(data, config_of(name))
        module = bound.module().eval().requires_grad_(False)
        trained = TrainedNetwork(bound, module)
        return trained, read_sample(trained, data, "valid003", None, bound.spec.tasks[0])

    return made


def explained(made):
    trained, sample = made
    return explain_network(trained, sample, choose_target(trained, sample.batch, None))


@pytest.mark.parametrize(
    ("name", "parts", "pictures"),
    [
        ("tiny_vit", {"attention"}, {"attention_heads", "attention_rollout"}),
        ("vit_b16", {"attention"}, {"attention_heads", "attention_rollout"}),
        ("cnn", {"grad_cam"}, {"grad_cam"}),
        ("resnet50", {"grad_cam"}, {"grad_cam"}),
        ("mimamo", {"grad_cam", "regions", "tokens"}, {"grad_cam", "regions"}),
        ("mel_cnn", {"voice"}, {"voice"}),
        ("ngram_text", {"tokens"}, set()),
        pytest.param("multimodal_lstm", {"voice", "tokens"}, {"voice"}, marks=pytest.mark.slow),
    ],
)
def test_each_kind_of_network_has_its_explanation(network, name, parts, pictures):
    found = explained(network(name))
    kinds = {"attention", "grad_cam", "regions", "voice", "tokens"}
    assert kinds & set(found.document) == parts
    assert set(found.pictures) == pictures
    assert found.document["label"] == LABELS[3]
    for picture in found.pictures.values():
        assert picture.dtype == np.uint8 and picture.std() > 0
    json.dumps(found.document, allow_nan=False)


@pytest.mark.parametrize(
    ("name", "layer"), [("resnet50", "backbone.layer4"), ("face_resnet", "stages")]
)
def test_grad_cam_takes_the_output_of_whole_residual_blocks(network, name, layer):
    trained, sample = network(name)
    found = grad_cam(PartialNetwork(trained.network, sample.batch), 0)
    assert found is not None and found[0].startswith(layer)
    assert "shortcut" not in found[0] and "downsample" not in found[0] and "bn" not in found[0]


def test_networks_of_the_sanity_check_differ_in_their_weights_alone(network):
    trained, _ = network("face_resnet")
    trained = replace(trained, network=deepcopy(trained.network))
    set_half_life(trained.network.head, 2.0)
    random = explain_module._random(trained, 1).network
    assert half_life_of(random.head) == 2.0
    first, other = (next(one.parameters()) for one in (trained.network, random))
    assert first.shape == other.shape and not torch.equal(first, other)
    assert not other.requires_grad


def test_recorded_attention_is_that_of_the_forward_pass(network):
    """The output of torch's attention is the same with the weights as without, and rows add up to 1."""
    for name in ("tiny_vit", "vit_b16"):
        trained, sample = network(name)
        encoder, pictures = trained.network.video, sample.batch["pixels"].flatten(0, 1)
        with torch.no_grad():
            before = encoder(pictures)
            layers = attention_of(encoder, pictures)
            assert torch.equal(before, encoder(pictures))
        assert len(layers) == 2
        for layer in layers:
            assert np.allclose(layer.weights.sum(-1), 1, atol=1e-5)
            assert 0 <= layer.diversity <= 1 and all(0 <= s <= 1 for s in layer.spread)
        assert np.allclose(rollout(layers).sum((1, 2)), 1)


def test_diversity_and_rollout_of_attention_that_is_known():
    """Two heads at different patches differ by 1 bit, alike ones by 0; rollout of one layer is their mean."""
    weights = np.zeros((1, 2, 5, 5))
    weights[:, :, 1:, 0] = 1
    weights[0, 0, 0, 1] = weights[0, 1, 0, 4] = 1
    apart = LayerAttention("apart", weights)
    assert apart.diversity == pytest.approx(1)
    assert apart.spread == pytest.approx([0, 0], abs=1e-6)
    assert rollout([apart])[0] == pytest.approx(np.array([[0.5, 0], [0, 0.5]]))
    alike = LayerAttention("alike", weights[:, :1].repeat(2, axis=1))
    assert alike.diversity == pytest.approx(0, abs=1e-6)
    assert np.isnan(LayerAttention("one", weights[:, :1]).diversity)


def test_attention_is_drawn_by_how_far_it_is_from_even():
    """An even head leaves the picture gray; one that looks at a patch is orange there and blue elsewhere."""
    weights = np.full((1, 2, 17, 17), 1 / 17)
    weights[0, 1, 0] = 0
    weights[0, 1, 0, 1] = 1
    layer = LayerAttention("one", weights)
    assert beyond_even(layer.maps)[0, 0] == pytest.approx(0)
    assert beyond_even(layer.maps)[0, 1, 0, :2] == pytest.approx([15, -1])
    drawn = draw_heads(np.full((32, 32, 3), 128, np.uint8), [layer, layer]).astype(int)
    even, sharp = drawn[-126:, 60 + 4 : 60 + 4 + 126], drawn[-126:, -126:]
    assert (even == 128).all()
    assert (sharp[2, 2] - 128)[0] > 60 > -60 > (sharp[2, 2] - 128)[2]
    assert sharp[100, 100, 2] > 128 > sharp[100, 100, 0]


@pytest.mark.parametrize("name", ["mel_cnn", "mel_resnet"])
def test_the_gradients_of_sound_add_up_to_the_change_of_the_output(network, name):
    trained, sample = network(name)
    part = PartialNetwork(trained.network, sample.batch)
    found = sound_saliency(part, 1)
    (mel,) = [m for m in trained.network.voice.modules() if isinstance(m, LogMel)]
    samples = sample.batch["samples"]
    steady = mel(samples).mean(2, keepdim=True).expand_as(mel(samples))
    with torch.no_grad():
        whole = part.with_sound(samples)
        handle = mel.register_forward_hook(lambda *_: steady)
        change = whole - part.with_sound(samples)
        handle.remove()
    assert found.values.sum() == pytest.approx(float(change[0, 1]), rel=0.15, abs=0.01)


def test_random_weights_destroy_the_map(data, tmp_path):
    """The sanity check of Adebayo et al. (2018), with a network that has learned where the bright spot is."""
    run = tmp_path / "cnn"
    fit(recipes()["cnn"], config_of("cnn"), data, run, report=lambda _: None)
    trained = load_trained(run)

    def ranks(network):
        sample = read_sample(TrainedNetwork(trained.recipe, network), data, "valid001", None, task)
        _, maps = grad_cam(PartialNetwork(network, sample.batch), 1)
        return np.argsort(np.argsort(maps.mean(0).ravel()))

    task = trained.recipe.spec.tasks[0]
    learned = ranks(trained.network)
    assert abs(np.corrcoef(learned, ranks(load_trained(run).network))[0, 1]) == pytest.approx(1)
    found = []
    for seed in range(5):
        torch.manual_seed(seed)
        other = trained.recipe.module().eval().requires_grad_(False)
        found.append(abs(np.corrcoef(learned, ranks(other))[0, 1]))
    assert np.mean(found) < 0.6


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small prepared set whose lines are long enough for a map of words."""

    def lines():
        for sample in [*utterances(8, "train"), *utterances(3, "valid")]:
            sample.text += " we went home and then they all came to see us there"
            yield sample

    return write(tmp_path_factory.mktemp("small") / "set", list(lines()))


@pytest.mark.parametrize(
    ("name", "epochs", "parts"),
    [
        ("tiny_vit", 6, {"attention_rollout", "layer 1", "layer 2"}),
        ("mel_cnn", 2, {"voice"}),
        ("ngram_text", 6, {"words"}),
        ("mimamo", 2, {"regions", "grad_cam"}),
    ],
)
def test_random_weights_destroy_every_kind_of_map(small, tmp_path, name, epochs, parts):
    """The check that 'train explain' makes, for attention, saliency of voice and words, and regions: a map is
    its own with the same weights, and another with random ones."""
    run = tmp_path / name
    fit(recipes()[name], replace(config_of(name), epochs=epochs), small, run, report=lambda _: None)
    trained = load_trained(run)
    random = [explain_module._random(trained, seed) for seed in range(3)]
    found = {}
    for sample in ("valid000", "valid001", "valid002"):
        read = read_sample(trained, small, sample, None, trained.recipe.spec.tasks[0])
        target = choose_target(trained, read.batch, None)

        def maps(network, read=read, target=target):
            every = dict(explain_network(network, read, target).maps)
            if "attention_rollout" in every:
                pictures = read.batch["pixels"].flatten(0, 1)
                layers = attention_of(network.network.video, pictures)
                every |= {f"layer {n}": one.maps for n, one in enumerate(layers, 1)}
            return {part: every[part] for part in parts}

        learned = maps(trained)
        assert all(one.correlation == 1 for one in compare_maps(learned, [maps(load_trained(run))]))
        for one in compare_maps(learned, [maps(other) for other in random]):
            found.setdefault(one.part, []).append(one.correlation)
    assert {part for part, values in found.items() if np.mean(values) < ALIKE} == parts


def test_maps_are_compared_with_those_of_random_weights():
    generator = np.random.default_rng(0)
    learned = {"grad_cam": generator.normal(size=(1, 9, 9)), "words": np.arange(3.0)}
    others = [{"grad_cam": generator.normal(size=(1, 9, 9))} for _ in range(3)]
    (found,) = compare_maps(learned, others)
    assert found.part == "grad_cam" and found.correlation < 0.3 and found.depends
    (same,) = compare_maps(learned, [{"grad_cam": -2 * learned["grad_cam"]}])
    assert same.correlation == pytest.approx(1) and not same.depends
    (flat,) = compare_maps(learned, [{"grad_cam": np.zeros((1, 9, 9))}])
    assert flat.correlation == 0
    assert compare_maps({"words": np.zeros(9)}, [{"words": np.arange(9.0)}]) == []


def test_two_strong_fields_leave_the_color_of_the_others():
    """A voice's map whose largest values are ten times as large as the rest: half of it still has color."""
    values = np.random.default_rng(0).uniform(-1, 1, (40, 184))
    values[3, 5] = values[20, 100] = 10
    assert 0.9 < color_scale(values) < 1
    level = np.zeros(values.shape)
    drawn = draw_spectrogram(level, values, color_scale(values)).astype(int)
    below = drawn[len(drawn) // 2 :]
    assert (np.ptp(below, axis=2) > 60).mean() > 0.3
    assert color_scale(np.where(values > 5, values, 0)) == pytest.approx(10)
    assert color_scale(np.zeros((2, 3))) == 1


def test_a_small_effect_of_words_is_compared_without_rounding(network):
    """Effects below 0.0001 are 0 in the document, but the sanity check needs their order."""
    trained, sample = network("ngram_text")
    trained = replace(trained, network=deepcopy(trained.network))
    for parameter in trained.network.head.parameters():
        parameter.mul_(1e-4)
    found = explained((trained, sample))
    assert {one["without"] for one in found.document["tokens"]} == {0}
    assert np.ptp(found.maps["words"]) > 0


def test_the_command_explains_a_checkpoint(data, tmp_path, capsys):
    run = tmp_path / "cnn"
    fit(recipes()["cnn"], replace(config_of("cnn"), epochs=1), data, run, report=lambda _: None)
    arguments = ["explain", run / "best.pt", "--data", data, "--sample", "3", "--split", "valid"]
    application([*map(str, arguments), "--output", str(tmp_path / "why")], standalone_mode=False)
    said = capsys.readouterr().out
    assert "valid003" in said and "the label is anger" in said
    document = json.loads((tmp_path / "why" / "explanation.json").read_text())
    assert document["grad_cam"]["shape"][1:] == [7, 7]
    assert cv2.imread(str(tmp_path / "why" / "grad_cam.png")) is not None
    (sanity,) = document["sanity"]
    assert sanity["part"] == "grad_cam" and 0 <= sanity["correlation"] <= 1
    assert "correlation with maps of random weights" in said
    page = (tmp_path / "why" / "explanation.html").read_text()
    assert page.count("data:image/png;base64,") == 1 and "valid003" in page
    for text in ("What is explained", "Sanity check", "What this does not say", "7 x 7 fields"):
        assert text in page
    assert not re.search(r"https?:|url\(|@import|<link", page)
    with pytest.raises(OptionError, match="has 12 samples"):
        explain_sample(run, data, "nobody", split="valid")
    with pytest.raises(OptionError, match="the network predicts neutral"):
        explain_sample(run, data, "0", explained="bliss")
    with pytest.raises(RunError, match="neither a run nor"):
        explain_sample(tmp_path, data, "0")
