"""Pieces and embeddings that are taken from a pretrained encoder, here from a made-up one."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
safetensors = pytest.importorskip("safetensors.torch", reason="needs the train extra")

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from affectstream.train.networks.word_pieces import reduced_embeddings, reduced_tokenizer

WORDS = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", *"abcdnot'", "##a", "the", "dog", "cat", "##s"]
LINES = ["the dogs", "the cats", "dogs"]


@pytest.fixture
def source(tmp_path):
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    whole = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    whole.normalizer = normalizers.BertNormalizer()
    whole.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    whole.add_special_tokens(["[PAD]", "[UNK]", "[CLS]"])
    whole.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    table = torch.randn(len(WORDS), 12, generator=torch.Generator().manual_seed(0))
    weights = {"embeddings.word_embeddings.weight": table}
    safetensors.save_file(weights, tmp_path / "model.safetensors")
    return str(tmp_path)


def test_pieces_of_the_lines_come_before_others(source):
    found = reduced_tokenizer("text", source, LINES, 14)
    assert found.get_vocab_size() == 14
    assert found.token_to_id("[PAD]") == 0
    assert found.encode("the dogs").tokens == ["the", "dog", "##s"]
    assert found.encode("cat").tokens == ["[UNK]"], "there was no room for a word that occurs once"
    assert found.token_to_id("[CLS]") is None and found.token_to_id("[unused0]") is None


@pytest.mark.parametrize("apostrophe", ["'", "\u2019", "\u0092"])
def test_every_apostrophe_is_read_as_one(source, apostrophe):
    found = reduced_tokenizer("text", source, LINES, 15)
    assert found.encode(f"a{apostrophe}b").tokens == ["a", "'", "b"]


def test_embeddings_keep_the_directions_in_which_the_pieces_differ(source):
    found = reduced_tokenizer("text", source, LINES, 14)
    whole, few = (reduced_embeddings("text", source, found, width) for width in (12, 5))
    assert few.shape == (14, 5)
    np.testing.assert_allclose(few.std(), 0.1, rtol=0.05)
    # All of them together are a rotation: distances stay.
    table = safetensors.load_file(source + "/model.safetensors")[
        "embeddings.word_embeddings.weight"
    ]
    rows = table[[WORDS.index(found.id_to_token(number)) for number in range(14)]]
    ratio = torch.cdist(whole, whole) / torch.cdist(rows, rows)
    assert float(ratio[ratio.isfinite()].std()) < 1e-3
