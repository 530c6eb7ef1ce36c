"""The text encoder: its lines, its tokenizer, its n-grams and its graph."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer

from affectstream.engines.labels import EMOTIONS_7
from affectstream.train.data.readers import meld
from affectstream.train.errors import DataError, DataMissing
from affectstream.train.networks.tokenizer import (
    MAX_TOKENS,
    encode,
    parents,
    split_pieces,
    train_tokenizer,
)
from affectstream.train.recipes.pocket.ngrams import NGrams, features_of, fit_ngrams
from affectstream.train.recipes.pocket.pocket_text import (
    EMBEDDING,
    NATURAL,
    PIECES,
    RECIPE,
    PocketText,
)

HAPPY = ["I love it!", "This is so great, thank you!", "Yes! Great news!", "What a lovely day!"]
ANGRY = [
    "Get out of here.",
    "I hate this, stop it.",
    "Stop shouting at me.",
    "Get out, I hate you.",
]
PLAIN = [
    "The bank is closed.",
    "He went to the bank.",
    "It is nine.",
    "The door is nine feet wide.",
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([*HAPPY, *ANGRY, *PLAIN] * 4, 400)


@pytest.fixture(scope="module")
def fitted(tokenizer):
    """n-grams that know three kinds of line, and what they say of each line unseen."""
    tokens = encode(tokenizer, [*ANGRY, *HAPPY, *PLAIN] * 5)
    labels = np.tile(np.repeat([0, 1, 2], 4), 5)
    model = NGrams(400, 1_000, 3)
    unseen = fit_ngrams(model, tokens, labels, np.ones(60), np.arange(60) // 12)
    return model, tokens, labels, unseen


@pytest.fixture(scope="module")
def encoder(tokenizer):
    torch.manual_seed(0)
    module = PocketText().eval()
    module.tokenizer = tokenizer.to_str()
    module.ngrams.table[1:].uniform_()
    module.ngrams.row_of_slot.random_(PIECES, 16_384)
    return module


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("he\x92s lost it", "he\u2019s lost it"),
        ("heâ€™s lost it", "he\u2019s lost it"),
        ("cafÃ©", "café"),
        ("São Paulo, café", "São Paulo, café"),
        ("plain", "plain"),
    ],
)
def test_repair(broken, mended):
    assert meld.repair(broken) == mended


def write_meld(root, emotion="joy"):
    (root / "meld").mkdir()
    (root / "meld" / "dev_sent_emo.csv").write_text(
        "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,"
        "EndTime\n"
        f'1,"Oh my God, he\u2019s lost it.",Phoebe,{emotion},negative,4,2,4,7,0:20:57.256,0:20:58.049\n',
        encoding="utf-8",
    )


def test_reader(tmp_path):
    write_meld(tmp_path)
    (line,) = meld.read(tmp_path, "dev")
    assert (line.text, line.emotion) == ("Oh my God, he\u2019s lost it.", "joy")
    assert (line.participant, line.dialogue, line.turn) == ("Phoebe", "dev-4", 2)


def test_reader_names_the_error(tmp_path):
    with pytest.raises(DataMissing, match=r"train_sent_emo\.csv"):
        meld.read(tmp_path, "train")
    with pytest.raises(ValueError, match="train, dev, test"):
        meld.read(tmp_path, "valid")
    write_meld(tmp_path, "bored")
    with pytest.raises(DataError, match="'bored'"):
        meld.read(tmp_path, "dev")


@pytest.mark.parametrize("emotion", EMOTIONS_7)
def test_meld_has_the_seven_labels(tmp_path, emotion):
    write_meld(tmp_path, emotion)
    assert [line.emotion for line in meld.read(tmp_path, "dev")] == [emotion]


def test_tokenizer_reads_all_apostrophes_and_cases_alike(tokenizer):
    ids = [tokenizer.encode(t).ids for t in ("Don't stop!", "don\u2019t STOP !", "don`t stop!")]
    assert ids[0] == ids[1] == ids[2]
    assert tokenizer.encode("").ids == []
    assert 0 not in tokenizer.encode("日本 \U0001f600 zzz").ids  # bytes: nothing is unknown


def test_tokenizer_is_a_function_of_its_texts(tokenizer):
    assert train_tokenizer([*HAPPY, *ANGRY, *PLAIN] * 4, 400).to_str() == tokenizer.to_str()


def test_long_text_is_cut(tokenizer):
    ids, mask = encode(tokenizer, ["hate " * 200, ""])
    assert ids.shape == (2, MAX_TOKENS)
    assert mask.sum(1).tolist() == [MAX_TOKENS, 0]


def test_split_pieces_spell_the_same_text(tokenizer):
    ids, mask = encode(tokenizer, [*HAPPY, *ANGRY])
    generator = torch.Generator().manual_seed(0)
    split, there = split_pieces(ids, mask, parents(tokenizer), 0.5, generator)
    assert there.sum() > mask.sum()
    for old, new in zip(ids.tolist(), split.tolist(), strict=True):
        pieces = ["".join(tokenizer.id_to_token(i) for i in line if i) for line in (old, new)]
        assert pieces[0] == pieces[1]


def test_ngrams_learn_and_predict_unseen_lines(fitted):
    model, tokens, labels, unseen = fitted
    assert (model(*tokens).argmax(1).numpy() == labels).all()
    assert unseen.shape == (60, 3)
    # Every line is in the other folds too, but fewer of them: right, and a little less sure.
    assert (unseen.argmax(1).numpy() == labels).all()
    assert not torch.equal(unseen, model(*tokens))


def test_ngrams_forward_is_the_fitted_regression(fitted):
    """The look-ups of the graph against scikit-learn's own product."""
    model, tokens, labels, _ = fitted
    idf = np.sqrt(model.table[:, -1].numpy().astype(np.float64))
    features = features_of(model.rows(*tokens).numpy(), idf)
    judge = LogisticRegression(C=2.0, max_iter=150).fit(features, labels)
    wanted = judge.decision_function(features)
    np.testing.assert_allclose(model(*tokens).numpy(), wanted, atol=1e-2)


def test_ngrams_need_three_labels(tokenizer):
    tokens = encode(tokenizer, HAPPY)
    with pytest.raises(ValueError, match="three labels"):
        fit_ngrams(NGrams(400, 1_000, 2), tokens, np.array([0, 1, 0, 1]), np.ones(4), np.arange(4))


def test_shapes(encoder, tokenizer):
    embedding, logits = encoder(*encode(tokenizer, HAPPY))
    assert embedding.shape == (4, EMBEDDING)
    assert logits.shape == (4, 7)
    assert torch.equal(encoder.head(embedding), logits)


def test_padded_tokens_do_not_matter(encoder, tokenizer):
    ids, mask = encode(tokenizer, HAPPY)
    rubbish = torch.where(mask, ids, torch.randint(1, 400, ids.shape))
    for clean, dirty in zip(encoder(ids, mask), encoder(rubbish, mask), strict=True):
        assert torch.equal(clean, dirty)
    short = int(mask.sum(1).max())
    cut = encoder(ids[:, :short], mask[:, :short])[1]
    assert (cut - encoder(ids, mask)[1]).abs().max() < 1e-4


def test_a_line_without_tokens_gives_finite_numbers(encoder):
    empty = torch.zeros(1, MAX_TOKENS, dtype=torch.int64)
    embedding, logits = encoder(empty, torch.zeros_like(empty, dtype=torch.bool))
    assert torch.isfinite(embedding).all()
    assert torch.isfinite(logits).all()


def test_the_exported_graph_agrees_and_has_its_tokenizer(encoder, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path, words = RECIPE.export(encoder, tmp_path)
    assert path.stat().st_size < 3_000_000
    ids, mask = encode(Tokenizer.from_file(str(words)), [*HAPPY, "", "stop " * 100])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feeds = {"ids": ids.numpy(), "mask": mask.numpy()}
    found = session.run(["embedding", "logits"], feeds)
    for got, want in zip(found, encoder(ids, mask), strict=True):
        np.testing.assert_allclose(got, want.detach().numpy(), atol=1e-3)


def test_a_network_without_tokenizer_is_not_exported(tmp_path):
    with pytest.raises(ValueError, match="no tokenizer"):
        RECIPE.export(PocketText(), tmp_path)


def test_tokenizer_travels_in_the_checkpoint(encoder, tmp_path):
    torch.save(encoder.state_dict(), tmp_path / "state.pt")
    other = PocketText()
    other.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert other.tokenizer == encoder.tokenizer


def test_priors():
    assert sum(NATURAL) == pytest.approx(1.0)
    assert sum(RECIPE.prior) == pytest.approx(1.0)
    # Flatter than MELD, in the same order.
    assert max(RECIPE.prior) < max(NATURAL)
    assert np.argsort(RECIPE.prior).tolist() == np.argsort(NATURAL).tolist()


@pytest.mark.data
def test_meld_is_the_published_one(data_root):
    lines = meld.read(data_root, "train")
    counts = np.array([sum(line.emotion == e for line in lines) for e in EMOTIONS_7])
    assert len(lines) == 9_989
    np.testing.assert_allclose(counts / len(lines), NATURAL)
    assert len(meld.read(data_root, "dev")) == 1_109
    tokenizer = train_tokenizer([line.text for line in lines], PIECES)
    assert tokenizer.get_vocab_size() <= PIECES
