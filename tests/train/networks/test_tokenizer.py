"""The tokenizer that is trained on the lines of a data set."""

import pytest

pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.train.loader.dialogues import tokenize
from affectstream.train.networks.tokenizer import MAX_TOKENS, train_tokenizer

LINES = [
    *("I love it!", "This is so great, thank you!", "Yes! Great news!", "What a lovely day!"),
    *("Get out of here.", "I hate this, stop it.", "Stop shouting at me.", "Get out, I hate you."),
    *("The bank is closed.", "He went to the bank.", "It is nine.", "The door is nine feet wide."),
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(LINES * 4, 400)


def test_it_reads_all_apostrophes_and_cases_alike(tokenizer):
    ids = [tokenizer.encode(t).ids for t in ("Don't stop!", "don\u2019t STOP !", "don`t stop!")]
    assert ids[0] == ids[1] == ids[2]
    assert tokenizer.encode("").ids == []
    assert 0 not in tokenizer.encode("日本 \U0001f600 zzz").ids  # bytes: nothing is unknown


def test_it_is_a_function_of_its_texts(tokenizer):
    assert train_tokenizer(LINES * 4, 400).to_str() == tokenizer.to_str()


def test_long_text_is_cut(tokenizer):
    ids, mask = tokenize(tokenizer.to_str(), ["hate " * 200, ""], MAX_TOKENS, joined=False)
    assert ids.shape == (2, MAX_TOKENS)
    assert mask.sum(1).tolist() == [MAX_TOKENS, 0]
