"""Whisper's first layers: the same numbers as transformers', from its files and from faster-whisper's."""

import struct

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")
transformers = pytest.importorskip("transformers", reason="training needs the 'train' extra")

from affectstream.train.errors import WeightsError
from affectstream.train.networks import whisper
from affectstream.train.networks.network import NetworkSpec

SAMPLES, WIDTH, HEADS = 16_000, 32, 2
TYPES = {"float32": 0, "int8": 1, "int16": 2, "float16": 4}


def spec_for(source, **options):
    sizes = {"voice_layers": 1, "voice_width": WIDTH, "voice_heads": HEADS, **options}
    return NetworkSpec(outputs=7, samples=SAMPLES, options=sizes, weights={"voice": str(source)})


@pytest.fixture(scope="module")
def published():
    """A made-up Whisper of two layers."""
    config = transformers.WhisperConfig(
        d_model=WIDTH,
        encoder_layers=2,
        encoder_attention_heads=HEADS,
        encoder_ffn_dim=4 * WIDTH,
        decoder_layers=1,
        decoder_attention_heads=HEADS,
        decoder_ffn_dim=16,
        max_source_positions=SAMPLES // 320,
        vocab_size=40,
        pad_token_id=0,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed_positions" not in name:
                parameter.copy_(0.3 * torch.randn_like(parameter) + name.endswith("norm.weight"))
    return model


@pytest.fixture(scope="module")
def mel():
    return 0.5 * torch.randn(2, 80, SAMPLES // 160, generator=torch.Generator().manual_seed(1))


def write_ctranslate2(path, variables, kind="WhisperSpec"):
    """A `model.bin` of CTranslate2's sixth version."""

    def text(value):
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    parts = [struct.pack("<I", 6), text(kind), struct.pack("<II", 3, len(variables))]
    for name, values in variables.items():
        parts += [
            text(name),
            struct.pack("<B", values.ndim),
            struct.pack(f"<{values.ndim}I", *values.shape),
        ]
        parts += [struct.pack("<BI", TYPES[str(values.dtype)], values.nbytes), values.tobytes()]
    path.write_bytes(b"".join([*parts, struct.pack("<I", 0)]))


def as_ctranslate2(encoder, kind):
    """The variables that CTranslate2's converter writes, in float16, or the matrices in 8 bits."""
    found = {"encoder/num_heads": np.int16(HEADS)[...]}

    def add(name, weight, bias=None, ends=("weight", "bias")):
        values = weight.detach().numpy()
        if kind == "int8" and values.ndim > 1:
            scale = 127.0 / np.abs(values.reshape(len(values), -1)).max(1)
            rows = scale.reshape(-1, *(1,) * (values.ndim - 1))
            found[f"encoder/{name}/{ends[0]}"] = np.rint(values * rows).astype(np.int8)
            found[f"encoder/{name}/{ends[0]}_scale"] = scale.astype(np.float32)
        else:
            found[f"encoder/{name}/{ends[0]}"] = values.astype(np.float16)
        if bias is not None:
            found[f"encoder/{name}/{ends[1]}"] = bias.detach().numpy().astype(np.float16)

    for name in ("conv1", "conv2"):
        add(name, getattr(encoder, name).weight, getattr(encoder, name).bias)
    for number, layer in enumerate(encoder.layers):
        start, heads = f"layer_{number}", layer.self_attn
        queries = [heads.q_proj, heads.k_proj, heads.v_proj]
        biases = [heads.q_proj.bias, torch.zeros(WIDTH), heads.v_proj.bias]
        fused = torch.cat([part.weight for part in queries])
        add(f"{start}/self_attention/linear_0", fused, torch.cat(biases))
        add(f"{start}/self_attention/linear_1", heads.out_proj.weight, heads.out_proj.bias)
        for inner, part in (("linear_0", layer.fc1), ("linear_1", layer.fc2)):
            add(f"{start}/ffn/{inner}", part.weight, part.bias)
        norms = {"self_attention": layer.self_attn_layer_norm, "ffn": layer.final_layer_norm}
        for inner, norm in norms.items():
            add(f"{start}/{inner}/layer_norm", norm.weight, norm.bias, ("gamma", "beta"))
    found["decoder/layer_0/ffn/linear_0/weight"] = np.zeros((3, 4), np.float32)
    return found


def test_the_layers_from_a_folder_agree_with_transformers(published, mel, tmp_path):
    published.save_pretrained(tmp_path)
    layers = whisper.whisper_layers(spec_for(tmp_path)).eval()
    with torch.no_grad():
        found = layers(mel)
        expected = published.model.encoder(mel, output_hidden_states=True).hidden_states
    assert len(found) == 2  # before and after the first of two layers
    for state, wanted in zip(found, expected[:2], strict=True):
        assert state.shape == (2, SAMPLES // 320, WIDTH)
        assert (state - wanted).abs().max() < 1e-4


@pytest.mark.parametrize(("kind", "close"), [("float16", 2e-2), ("int8", 0.3)])
def test_the_layers_of_faster_whisper_are_the_same(published, mel, tmp_path, kind, close):
    write_ctranslate2(tmp_path / "model.bin", as_ctranslate2(published.model.encoder, kind))
    layers = whisper.whisper_layers(spec_for(tmp_path, voice_layers=2)).eval()
    with torch.no_grad():
        expected = published.model.encoder(mel, output_hidden_states=True).hidden_states
        for state, wanted in zip(layers(mel)[:2], expected[:2], strict=True):
            assert (state - wanted).abs().max() < close * wanted.std()


def test_positions_can_be_merged(mel):
    layers = whisper.whisper_layers(spec_for("none"))
    first, last = layers(mel, merged=2)
    assert first.shape == last.shape == (2, SAMPLES // 640, WIDTH)
    assert torch.allclose(first[:, 0], layers(mel)[0][:, :2].mean(1), atol=1e-5)


def test_other_files_and_sizes_are_named(published, tmp_path):
    write_ctranslate2(tmp_path / "model.bin", {}, kind="TransformerSpec")
    with pytest.raises(WeightsError, match=r"of a 'TransformerSpec'.*expected the model\.bin"):
        whisper.whisper_layers(spec_for(tmp_path))
    (tmp_path / "model.bin").write_bytes(b"\6\0\0\0\xff")
    with pytest.raises(WeightsError, match="not a model of CTranslate2"):
        whisper.whisper_layers(spec_for(tmp_path))
    write_ctranslate2(tmp_path / "model.bin", as_ctranslate2(published.model.encoder, "float16"))
    with pytest.raises(
        WeightsError, match=r"conv1\.weight is \[32, 80, 3\], expected \[64, 80, 3\]"
    ):
        whisper.whisper_layers(spec_for(tmp_path, voice_width=64))
    with pytest.raises(WeightsError, match=r"layers\.2\.\S+ is missing"):
        whisper.whisper_layers(spec_for(tmp_path, voice_layers=3))


def test_log_mels_are_those_of_whisper_at_any_loudness():
    generator = torch.Generator().manual_seed(2)
    sound = torch.randn(2, SAMPLES, generator=generator) * torch.linspace(0.01, 0.2, SAMPLES)
    extract = transformers.WhisperFeatureExtractor(chunk_length=1)
    expected = extract(
        list(sound.numpy()), sampling_rate=16_000, return_tensors="pt"
    ).input_features
    found = whisper.level(whisper.WhisperMel()(sound))
    assert found.shape == expected.shape
    expected = expected - expected.amax((1, 2), keepdim=True) + whisper.LEVEL
    # Whisper mirrors the sound at its ends.
    assert (found - expected)[:, :, 2:-2].abs().max() < 1e-3
    assert (whisper.level(whisper.WhisperMel()(0.05 * sound)) - found).abs().max() < 1e-3
    assert torch.isfinite(whisper.level(whisper.WhisperMel()(0.0 * sound))).all()
