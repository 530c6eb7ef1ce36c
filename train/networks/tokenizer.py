"""A byte-pair tokenizer that is trained on the lines of a data set.

Text is lower-cased, and curly apostrophes become straight ones, so that ``don't`` is one word however it was
typed. Runs of punctuation (``!``, ``?!``, ``...``) are pieces of their own, because they tell much about
emotion. Unknown bytes become single-byte pieces: no text is refused. All of this is in ``tokenizer.json``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

PAD = "[pad]"
MAX_TOKENS = 64


def train_tokenizer(texts: Iterable[str], size: int, special: Sequence[str] = (PAD,)) -> Tokenizer:
    """Train at most `size` pieces, the first of them `special`. The same texts give the same tokenizer.
    Encoding cuts at `MAX_TOKENS` and does not pad; number 0 is for padding, so `PAD` comes first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Replace(Regex("[\u2018\u2019\u00b4`\u0092]"), "'"),
            normalizers.Lowercase(),
        ]
    )
    words = Regex(r"'[a-z]+|[^\W_]+|[^\w\s']+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(words, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer
