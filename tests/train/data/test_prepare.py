"""`affectstream train prepare`, through the command line: every set from small files, every refusal."""

import csv
import io
import json
import subprocess
import sys
import zipfile

import cv2
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from affectstream.stream.cli import main
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.options import PrepareConfig
from affectstream.train.data.prepare.prepare import prepare
from affectstream.train.data.reading.crops import Cropper
from tests.support.imotions_exports import new_export
from tests.support.media import (
    Sound,
    numbered,
    tone,
    write_sound,
    write_video,
)

HUES = {"happy": 0, "sad": 60, "angry": 120, "neutral": 180}


@pytest.fixture
def run(capsys):
    """Run a command; (exit code, standard output, standard error)."""

    def run(*arguments):
        code = 0
        try:
            main(["train", "prepare", *map(str, arguments)])
        except SystemExit as left:
            code = left.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return run


def refused(result, text, code=4):
    """One line on standard error that says `text`."""
    assert result[0] == code, result
    assert result[2].startswith("error: ") and len(result[2].splitlines()) == 1, result[2]
    assert text in result[2], result[2]


def png(seed, size=48):
    grey = np.random.default_rng(seed).integers(0, 256, (size, size), np.uint8)
    return bytes(cv2.imencode(".png", grey)[1]), grey


# --- FER2013 ---


@pytest.fixture
def fer(tmp_path):
    """Forty pictures for training, eight to validate with, in a zip."""
    path = tmp_path / "fer2013.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for split, count in (("train", 10), ("test", 2)):
            for kind, word in enumerate(HUES):
                for n in range(count):
                    seed = 1000 * (split == "test") + 100 * kind + n
                    archive.writestr(f"{split}/{word}/{seed:05d}.png", png(seed)[0])
    return path


def test_fer2013_from_an_archive(run, fer, tmp_path):
    code, out, err = run("fer2013", fer, "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    assert "FER2013: 48 samples (48 with video)" in out
    dataset = Dataset(tmp_path / "out")
    assert dataset.info.splits == {"train": 40, "valid": 8}
    assert dataset.info.emotions == {"anger": 12, "joy": 12, "neutral": 12, "sadness": 12}
    assert (dataset.info.crop.kind, dataset.info.crop.size) == ("face", 48)
    by_id = {sample.id: sample for sample in dataset}
    sample = by_id["test/happy/01001.png"]
    np.testing.assert_array_equal(sample.crops[0][..., 1], png(1001)[1])
    assert (sample.emotion, sample.split) == ("joy", "valid")
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["classes"]["valid"] == {"neutral": 2, "anger": 2, "joy": 2, "sadness": 2}
    sheet = cv2.imread(str(tmp_path / "out/samples.png"))
    assert sheet.shape == (4 * 96, 110 + 10 * 96, 3)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *("dataset.json", "report.json", "samples-00000.parquet", "samples.png")
    ]


VOTES = [
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "not_face",
]


def write_votes(folder, rows):
    """The table of votes: {picture: (votes by emotion, group)}."""
    with (folder / "fer2013_votes.csv").open("w") as file:
        table = csv.writer(file)
        table.writerow(["picture", "fer2013", *VOTES, "group"])
        for name, (votes, group) in rows.items():
            table.writerow(
                [name, name.split("/")[1], *(votes.get(word, 0) for word in VOTES), group]
            )


def test_fer2013_with_the_votes_of_people(run, fer, tmp_path):
    with zipfile.ZipFile(fer) as archive:
        names = sorted(archive.namelist())
    unseen = next(name for name in names if name.startswith("train/sad"))
    votes = {name: ({"happiness": 10}, name) for name in names if name != unseen}
    votes |= {
        "test/happy/01001.png": ({"neutral": 6, "happiness": 3, "contempt": 1}, "copies"),
        "test/happy/01000.png": ({"neutral": 5, "sadness": 5}, "tie"),
        "train/happy/00001.png": ({"sadness": 10}, "copies"),
        "train/happy/00002.png": ({"anger": 4, "unknown": 6}, "few"),
        "train/happy/00003.png": ({"anger": 4, "fear": 4, "unknown": 2}, "tie in training"),
    }
    write_votes(tmp_path, votes)
    code, _, err = run("fer2013", fer, "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    skipped = json.loads((tmp_path / "out/report.json").read_text())["skipped"]
    found = {reason: [e["name"] for e in skip["examples"]] for reason, skip in skipped.items()}
    assert found == {
        "near copy in valid or test": ["train/happy/00001.png"],
        "fewer than 5 votes for an emotion": ["train/happy/00002.png"],
        "no votes for an emotion": [unseen],
    }
    by_id = {sample.id: sample for sample in Dataset(tmp_path / "out")}
    seen = by_id["test/happy/01001.png"]
    assert seen.emotion == "neutral"
    assert seen.votes.tolist() == [6, 0, 0, 0, 3, 0, 0, 0]
    assert by_id["test/happy/01000.png"].emotion is None
    tie = by_id["train/happy/00003.png"]
    assert tie.emotion is None and tie.votes.sum() == 8
    run("fer2013", fer, "-o", tmp_path / "own", "--labels", "own")
    own = {sample.id: sample for sample in Dataset(tmp_path / "own")}
    assert len(own) == 48 and own["test/happy/01001.png"].emotion == "joy"
    assert own["test/happy/01001.png"].votes is None
    (tmp_path / "fer2013_votes.csv").unlink()
    refused(run("fer2013", fer, "-o", tmp_path / "b", "--labels", "votes"), "give --labels own")


def test_fer2013_from_its_table_equals_the_archive(run, fer, tmp_path):
    numbers = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    with zipfile.ZipFile(fer) as archive, (tmp_path / "fer2013.csv").open("w") as file:
        table = csv.writer(file)
        table.writerow(["emotion", "Usage", "pixels"])
        for name in sorted(archive.namelist()):
            split, word, _ = name.split("/")
            grey = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), 0)
            usage = {"train": "Training", "test": "PublicTest"}[split]
            pixels = " ".join(map(str, grey.ravel()))
            table.writerow([numbers.index(word), usage, pixels])
    run("fer2013", fer, "-o", tmp_path / "a", "--size", 64)
    run("fer2013", tmp_path / "fer2013.csv", "-o", tmp_path / "b", "--size", 64)
    for one, other in zip(Dataset(tmp_path / "a"), Dataset(tmp_path / "b"), strict=True):
        np.testing.assert_array_equal(one.crops, other.crops)
        assert one.crops.shape == (1, 64, 64, 3)
        assert (one.emotion, one.split) == (other.emotion, other.split)


def test_the_same_picture_in_two_splits_is_refused_dropped_or_kept(run, fer, tmp_path):
    with zipfile.ZipFile(fer, "a") as archive:
        archive.writestr("test/happy/again.png", png(3)[0])
    out = tmp_path / "out"
    refused(
        run("fer2013", fer, "-o", out),
        "1 picture(s) or sound(s) are in more than one split, such as test/happy/again.png (valid), "
        "train/happy/00003.png (train)",
    )
    # Nothing has to be read again to mend that.
    code, text, _ = run("fer2013", fer, "-o", out, "--duplicates", "drop")
    assert code == 0 and "continued after 1 files or rows" in text
    skipped = "occurs in valid or test as well"
    same = "the same as test/happy/again.png"
    assert f"skipped 1: {skipped} (train/happy/00003.png: {same})" in text
    found = json.loads((out / "report.json").read_text())["skipped"][skipped]
    assert found == {"count": 1, "examples": [{"name": "train/happy/00003.png", "detail": same}]}
    assert Dataset(out).info.splits == {"train": 39, "valid": 9}
    assert run("fer2013", fer, "-o", out, "--duplicates", "keep", "--overwrite")[0] == 0
    assert Dataset(out).info.splits == {"train": 40, "valid": 9}


def test_a_split_of_ones_own_keeps_equal_pictures_together(run, fer, tmp_path):
    with zipfile.ZipFile(fer, "a") as archive:
        for n in range(10):
            archive.writestr(f"test/happy/again{n}.png", png(n)[0])
    assert run("fer2013", fer, "-o", tmp_path / "out", "--split", "60/20/20")[0] == 0
    dataset = Dataset(tmp_path / "out")
    where = {}
    for sample in dataset:
        where.setdefault(sample.crops.tobytes(), set()).add(sample.split)
    assert {len(splits) for splits in where.values()} == {1}
    assert set(dataset.info.splits) == {"train", "valid", "test"}


# --- conversations ---


@pytest.fixture
def talk(tmp_path):
    """A table of four speakers with a film each, and its rows."""
    for n in range(4):
        sound = Sound(tone(2.0, 16_000, 200 + 50 * n), 16_000)
        write_video(tmp_path / f"{n}.mp4", [numbered(100 * n + i) for i in range(50)], sound=sound)
    rows = [
        {
            "video": f"{n}.mp4",
            "text": f"line {n}",
            "age": 20 + n,
            "gender": "fm"[n % 2],
            "label": ("joy", "anger")[n % 2],
            "participant": f"p{n}",
            "valence": n / 4,
            "start": 0.4 * half,
            "end": 1.0 + half,
            "note": "unused",
        }
        for n in range(4)
        for half in range(2)
    ]
    return tmp_path, rows


def write_table(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_bytes(msgspec.json.Encoder().encode_lines(rows))
    else:
        text = io.StringIO()
        delimiter = "\t" if path.suffix == ".tsv" else ","
        table = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)
        path.write_text(text.getvalue())
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_conversation_from_any_table(run, talk, suffix):
    folder, rows = talk
    path = write_table(folder / f"talk{suffix}", rows)
    shape = ("--crop", "frame", "--size", 64, "--frames", 4)
    code, out, err = run("conversation", path, "-o", folder / "out", "--split", "50/50", *shape)
    assert (code, err) == (0, "")
    assert "note: columns not used: note" in out
    dataset = Dataset(folder / "out")
    assert dataset.info.splits == {"train": 4, "valid": 4}
    assert dataset.info.shared_participants == ()
    assert dataset.info.tasks == {"emotion": 8, "valence": 8}
    first, second = dataset[0], dataset[1]
    assert (first.gender, first.age, first.text, first.emotion) == ("female", 20.0, "line 0", "joy")
    assert (second.start_us, second.end_us) == (400_000, 2_000_000)
    # Four parts of 1.6 s from 0.4 s on, and the newest frame before the middle of each.
    assert second.crop_times_us.tolist() == [200_000, 600_000, 1_000_000, 1_400_000]
    assert len(second.audio) == pytest.approx(1.6 * 16_000, abs=2)
    assert np.abs(first.audio).max() == pytest.approx(0.5, abs=0.1)
    split_of = dict(zip(dataset.column("participant"), dataset.column("split"), strict=True))
    assert sorted(split_of.values()) == ["train", "train", "valid", "valid"]


def test_columns_and_labels_can_be_renamed(run, talk):
    folder, rows = talk
    for row in rows:
        row["Words"], row["label"] = (
            row.pop("text"),
            {"joy": "Happy", "anger": "Boredom"}[row["label"]],
        )
    path = write_table(folder / "talk.csv", rows)
    refused(
        run("conversation", path, "-o", folder / "out"),
        "talk.csv, row 1: label 'Happy' is none of neutral, anger, disgust, fear, joy, sadness, "
        "surprise, contempt; translate it with --map Happy=EMOTION or leave such rows out with "
        "--drop-unknown",
    )
    options = ("--map", "happy=joy", "--drop-unknown", "--column", "text=Words", "--overwrite")
    code, out, _ = run("conversation", path, "-o", folder / "out", *options, "--split", "none")
    assert code == 0
    assert "skipped 4: label left out (talk.csv, row 3: Boredom)" in out
    dataset = Dataset(folder / "out")
    assert dataset.info.emotions == {"joy": 4}
    assert dataset.info.splits == {"none": 4}
    assert dataset[0].text == "line 0"


def test_a_broken_video_is_skipped_and_reported(run, talk):
    folder, rows = talk
    whole = (folder / "0.mp4").read_bytes()
    (folder / "0.mp4").write_bytes(whole[: len(whole) // 2])
    path = write_table(folder / "talk.csv", rows)
    code, out, err = run("conversation", path, "-o", folder / "out", "--crop", "frame")
    assert (code, err) == (0, "")
    assert "skipped 2: cannot be decoded (talk.csv, row 1: " in out
    assert "0.mp4: was cut off before its index was written" in out
    report = json.loads((folder / "out/report.json").read_text())
    assert report["skipped"]["cannot be decoded"]["count"] == 2
    assert Dataset(folder / "out").info.rows == 6


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"label": None, "valence": None}, "no label column: expected label, sentiment, intensity"),
        (
            {"video": None, "text": None},
            "no input column: expected video, audio or text, found age",
        ),
        ({"valence": 3}, "talk.csv, row 1: valence is 3, expected -1 to 1"),
        ({"age": "old"}, "talk.csv, row 1: age is 'old', expected a number"),
        ({"gender": "x"}, "talk.csv, row 1: gender is 'x', expected one of female, male, other"),
        ({"split": "holdout"}, "split is 'holdout', expected one of train, valid, test"),
        ({"end": 0}, "talk.csv, row 1: end is 0.0, expected more than start, 0"),
        ({"id": "one"}, "1 ids occur more than once, such as 'one'"),
    ],
)
def test_wrong_tables_are_refused_in_one_line(run, talk, change, text):
    folder, rows = talk
    for row in rows:
        for name, value in change.items():
            row.pop(name, None)
            if value is not None:
                row[name] = value
    path = write_table(folder / "talk.csv", rows)
    refused(run("conversation", path, "-o", folder / "out", "--crop", "frame"), text)


def test_leaks_and_empty_splits_are_refused(run, talk):
    folder, rows = talk
    path = write_table(folder / "talk.csv", rows)
    shape = ("--crop", "frame", "--size", 32)
    out = folder / "out"
    first = [{**row, "split": "train" if n % 2 else "test"} for n, row in enumerate(rows)]
    leaky = write_table(folder / "leaky.csv", first)
    refused(
        run("conversation", leaky, "-o", folder / "leaky", *shape),
        "4 participant(s) are in more than one split: p0, p1, p2, p3; split by participant",
    )
    assert run("conversation", leaky, "-o", folder / "leaky", *shape, "--by", "sample")[0] == 0
    assert Dataset(folder / "leaky").info.shared_participants == ("p0", "p1", "p2", "p3")
    refused(
        run("conversation", path, "-o", out, *shape, "--split", "official"), "without splits", 2
    )
    refused(
        run("conversation", path, "-o", out, "--frames", 4, "--rate", 4), "exclude each other", 2
    )
    two = write_table(folder / "two.csv", rows[:4])
    refused(
        run("conversation", two, "-o", folder / "two", *shape),
        "2 participant(s) (p0, p1) cannot be split into train / valid / test: expected at least 3",
    )
    lacking = write_table(folder / "lacking.csv", [{**rows[0], "participant": ""}, *rows[2:]])
    refused(
        run("conversation", lacking, "-o", folder / "lacking", *shape),
        "1 samples have no participant, such as 000001: fill the column in, or split --by sample",
    )
    alone = [{**row, "split": "train"} for row in rows]
    assert run("conversation", write_table(path, alone), "-o", out, *shape)[0] == 0
    with pytest.raises(Exception, match="no samples for split valid and task emotion"):
        Dataset(out).rows_of("valid", task="emotion")


# --- speech and lines ---


def test_ravdess_by_actor(run, tmp_path):
    for actor in (1, 2, 17, 22):
        (tmp_path / f"Actor_{actor:02d}").mkdir()
        for code, strength in (("02", "01"), ("05", "02")):
            name = f"03-01-{code}-{strength}-01-01-{actor:02d}"
            pitch = tone(0.5, 48_000, 100 + 10 * actor + int(code))
            write_sound(tmp_path / f"Actor_{actor:02d}" / f"{name}.wav", pitch, 48_000, "pcm_s16le")
    write_sound(
        tmp_path / "Actor_01/03-02-05-01-01-01-01.wav", tone(0.5, 48_000), 48_000, "pcm_s16le"
    )
    code, out, err = run("ravdess", tmp_path, "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    assert "skipped 1: sung, not spoken" in out
    dataset = Dataset(tmp_path / "out")
    assert dataset.info.splits == {"train": 4, "valid": 2, "test": 2}
    assert dataset.info.emotions == {"neutral": 4, "anger": 4}  # calm is neutral
    assert (dataset[1].intensity, dataset[1].gender) == (1.0, "male")
    assert dataset.info.crop is None
    again = ("--map", "calm=joy", "--overwrite")
    assert run("ravdess", tmp_path, "-o", tmp_path / "out", *again)[0] == 0
    assert Dataset(tmp_path / "out").info.emotions == {"joy": 4, "anger": 4}


def test_ravdess_with_pictures_prefers_them(run, tmp_path):
    film = [numbered(i) for i in range(25)]
    sound = Sound(tone(1.0, 48_000))
    write_video(tmp_path / "01-01-03-01-01-01-02.mp4", film, sound=sound)
    write_video(tmp_path / "02-01-03-01-01-01-02.mp4", film)
    write_sound(tmp_path / "03-01-03-01-01-01-02.wav", tone(1.0, 48_000), 48_000, "pcm_s16le")
    shape = ("--crop", "frame", "--size", 32, "--frames", 3)
    code, out, _ = run("ravdess", tmp_path, "-o", tmp_path / "out", *shape)
    assert code == 0
    assert "skipped 2: also there with picture and sound" in out
    sample = Dataset(tmp_path / "out")[0]
    assert sample.crops.shape == (3, 32, 32, 3)
    assert sample.audio is not None
    assert sample.gender == "female"


def test_emodb_leaves_boredom_out_unless_it_is_mapped(run, tmp_path):
    for n, name in enumerate(("03a01Fa", "08a02Wb", "09b10La", "10a01Na")):
        write_sound(tmp_path / f"{name}.wav", tone(0.5, 16_000, 200 + n), 16_000, "pcm_s16le")
    code, out, _ = run("emodb", tmp_path, "-o", tmp_path / "out", "--split", "60/20/20")
    assert code == 0
    assert "skipped 1: label left out (09b10La.wav: boredom)" in out
    sample = Dataset(tmp_path / "out")[0]
    assert (sample.emotion, sample.gender, sample.age) == ("joy", "male", 31.0)
    assert sample.text.startswith("Der Lappen") and sample.language == "de"
    options = ("--overwrite", "--map", "boredom=neutral")
    assert run("emodb", tmp_path, "-o", tmp_path / "out", *options)[0] == 0
    assert Dataset(tmp_path / "out").info.emotions["neutral"] == 2


NEMO = (
    "file\temotion\ttext\tspeaker\tgender\tage\n"
    "MK0/MK0_happiness_1.wav\thappiness\tNie waśńmy się ze sobą.\tMK0\tfemale\t21\n"
    "MK0/MK0_anger_1.wav\tanger\tNie waśńmy się ze sobą.\tMK0\tfemale\t21\n"
    "TP0/TP0_surprised_2.wav\tsurprised\t„Ród smoka” to serial telewizyjny.\tTP0\tmale\t\n"
)


def test_nemo_reads_its_table_and_the_clips_that_are_there(run, tmp_path):
    (tmp_path / "data.tsv").write_text(NEMO, encoding="utf-8")
    (tmp_path / "MK0").mkdir()
    (tmp_path / "TP0").mkdir()
    for n, name in enumerate(("MK0/MK0_happiness_1", "TP0/TP0_surprised_2")):
        write_sound(tmp_path / f"{name}.wav", tone(0.5, 48_000, 200 + n), 48_000, "pcm_s16le")
    code, out, _ = run("nemo", tmp_path, "-o", tmp_path / "out", "--split", "50/50")
    assert code == 0
    assert "skipped 1: no such file (MK0/MK0_anger_1.wav" in out
    joy, surprise = Dataset(tmp_path / "out")
    assert (joy.emotion, joy.participant, joy.gender, joy.age) == ("joy", "nemo-MK0", "female", 21)
    assert (surprise.emotion, surprise.age, surprise.language) == ("surprise", None, "pl")
    assert surprise.text.startswith("„Ród smoka”")


MELD = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
    '1,"Oh my God, he\x92s lost it.",Phoebe,sadness,negative,0,0,4,7,"00:20:57,256","00:20:58,049"\n'
    '2,What?,Monica,surprise,negative,0,1,4,7,"00:21:01,927","00:21:03,261"\n'
)


def test_meld_with_and_without_clips(run, tmp_path):
    (tmp_path / "train_sent_emo.csv").write_text(MELD, encoding="utf-8")
    (tmp_path / "dev_sent_emo.csv").write_text(MELD, encoding="utf-8")
    code, out, err = run("meld", tmp_path, "-o", tmp_path / "text")
    assert (code, err) == (0, "")
    assert "MELD: 4 samples (4 with text)" in out
    assert (
        "2 participants are in several splits (the same cast speaks in all splits of MELD)" in out
    )
    sample = Dataset(tmp_path / "text")[0]
    assert sample.text == "Oh my God, he\u2019s lost it."
    assert (sample.recording, sample.dialogue, sample.turn) == ("s04e07", "train-0", 0)
    assert (sample.start_us, sample.end_us) == (1_257_256_000, 1_258_049_000)
    assert sample.sentiment == "negative"

    (tmp_path / "train_splits").mkdir()
    sound = Sound(tone(8.0, 16_000), 16_000)
    write_video(
        tmp_path / "train_splits/dia0_utt0.mp4", [numbered(i) for i in range(200)], sound=sound
    )
    (tmp_path / "train_splits/dia0_utt1.mp4").write_bytes(b"\0" * 1000)
    shape = ("--crop", "frame", "--frames", 2)
    code, out, _ = run("meld", tmp_path, "-o", tmp_path / "clips", *shape)
    assert code == 0
    assert "1: clip cannot be decoded, text kept (train_sent_emo.csv, Sr No. 2: " in out
    assert "2: clip missing, text kept (dev_sent_emo.csv, Sr No. 1)" in out
    dataset = Dataset(tmp_path / "clips")
    assert dataset.info.modalities == {"video": 1, "audio": 1, "text": 4}
    # The clip was cut seven seconds too long: only one more than stated is taken.
    assert dataset[0].crop_times_us.max() < 1_800_000
    assert len(dataset[0].audio) == pytest.approx(1.793 * 16_000, abs=2)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("Emotion", "Feeling", "no column Emotion; found Sr No., Utterance, Speaker, Feeling"),
        (
            "sadness",
            "grief",
            "train_sent_emo.csv, Sr No. 1: label 'grief' is none of neutral, anger",
        ),
        (
            "00:20:57,256",
            "soon",
            "Sr No. 1: StartTime is 'soon', expected a time such as 00:16:16,059",
        ),
        (
            "sadness,negative",
            "sadness,bad",
            "Sr No. 1: Sentiment is 'bad', expected one of negative",
        ),
    ],
)
def test_wrong_tables_of_meld_are_refused(run, tmp_path, old, new, text):
    (tmp_path / "train_sent_emo.csv").write_text(MELD.replace(old, new), encoding="utf-8")
    refused(run("meld", tmp_path, "-o", tmp_path / "out"), text)


# --- everything ---


def test_affdex_through_the_command_line(run, tmp_path):
    face = {"Joy": 60.0, "Attention": 90.0, "Engagement": 10.0, "Valence": 20.0}
    for name in ("a", "b", "c"):
        pictures = [numbered(i + 100 * ord(name) % 512) for i in range(30)]
        write_video(tmp_path / f"{name}.mp4", pictures)
        new_export(tmp_path / f"{name}.csv", [(n * 40.0, face) for n in range(30)], name=name)
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 100)
    new_export(tmp_path / "broken.csv", [(0.0, face)], name="broken")
    options = ("--every", 10, "--crop", "frame", "--size", 32, "--split", "40/30/30")
    code, out, err = run("affdex", tmp_path, "-o", tmp_path / "out", *options)
    assert (code, err) == (0, "")
    assert "skipped 1: cannot be decoded (broken: " in out
    dataset = Dataset(tmp_path / "out")
    assert dataset.info.splits == {"train": 3, "valid": 3, "test": 3}
    assert dataset.info.tasks == {
        **dict.fromkeys(("emotion", "emotion_multilabel", "attention"), 9),
        **dict.fromkeys(("engagement", "valence", "intensity"), 9),
    }
    assert dataset.info.parameters["every"] == 10
    assert dataset.info.parameters["crop"] == "frame"


def test_two_runs_give_the_same_bytes(run, fer, tmp_path):
    for name in ("a", "b"):
        run("fer2013", fer, "-o", tmp_path / name)
    for file in ("dataset.json", "samples-00000.parquet", "report.json", "samples.png"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def interrupt(config, path, output, **options):
    """Prepare until three jobs are done."""

    def stop(done, jobs, samples):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(config, path, output, on_progress=stop, **options)


@pytest.mark.parametrize("shard_bytes", [1, 1 << 30])
def test_an_interrupted_run_goes_on_where_it_stopped(talk, shard_bytes):
    folder, rows = talk
    path = write_table(folder / "talk.csv", rows)
    config = PrepareConfig(set="conversation", frames=2, crop="frame", size=32, split="50/50")

    whole = prepare(config, path, folder / "whole", shard_bytes=shard_bytes)
    interrupt(config, path, folder / "halves", shard_bytes=shard_bytes)
    again = prepare(config, path, folder / "halves", shard_bytes=shard_bytes)
    assert again.resumed == 3
    assert again.info.content_sha256 == whole.info.content_sha256
    assert again.info.split_sha256 == whole.info.split_sha256
    assert [s.id for s in Dataset(folder / "halves")] == [s.id for s in Dataset(folder / "whole")]


def test_a_run_that_an_earlier_version_began_goes_on(talk):
    """Its shards lack the columns that came later."""
    folder, rows = talk
    path = write_table(folder / "talk.csv", rows)
    config = PrepareConfig(set="conversation", frames=2, crop="frame", size=32, split="50/50")

    interrupt(config, path, folder / "halves")
    shard = folder / "halves/shard-00000.parquet"
    pq.write_table(pq.read_table(shard).drop_columns(["votes", "files"]), shard)
    assert prepare(config, path, folder / "halves").resumed == 3
    files = Dataset(folder / "halves").column("files").tolist()
    assert files[:3] == [None] * 3 and all(files[3:])


def test_half_a_job_is_repeated(talk, monkeypatch):
    folder, _ = talk
    face = {"Joy": 60.0}
    for name in ("0", "1"):
        new_export(folder / f"{name}.csv", [(n * 40.0, face) for n in range(50)], name=name)
    config = PrepareConfig(set="affdex", every=1, crop="frame", size=32, split="50/50")
    whole = prepare(config, folder, folder / "whole")
    cut, calls = Cropper.cut, []

    def stop(self, pictures):
        calls.append(1)
        if len(calls) == 18:  # in the middle of the second film
            raise KeyboardInterrupt
        return cut(self, pictures)

    for rows in (512, 2):  # the half is in memory; the half is in the file
        calls.clear()
        monkeypatch.setattr("affectstream.train.data.prepare.shards.GROUP_ROWS", rows)
        monkeypatch.setattr(Cropper, "cut", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(config, folder, folder / f"halves{rows}")
        monkeypatch.setattr(Cropper, "cut", cut)
        again = prepare(config, folder, folder / f"halves{rows}")
        assert again.resumed == (1 if rows == 512 else 0)
        assert again.info.content_sha256 == whole.info.content_sha256


def test_another_run_is_not_overwritten_by_mistake(run, fer, tmp_path):
    out = tmp_path / "out"
    assert run("fer2013", fer, "-o", out)[0] == 0
    refused(run("fer2013", fer, "-o", out), "already holds a data set: choose another folder")
    (out / "mine.txt").write_text("keep")
    assert run("fer2013", fer, "-o", out, "--overwrite", "--size", 32)[0] == 0
    assert (out / "mine.txt").read_text() == "keep"
    with zipfile.ZipFile(fer, "a") as archive:
        archive.writestr("test/happy/again.png", png(3)[0])
    assert run("fer2013", fer, "-o", out, "--overwrite")[0] == 4
    refused(
        run("fer2013", fer, "-o", out, "--size", 64), "unfinished run with other parameters (size)"
    )


@pytest.mark.parametrize(
    ("arguments", "text", "code"),
    [
        (
            ["faces", "{}"],
            "SET 'faces': expected one of affdex, conversation, emodb",
            2,
        ),
        (["fer2013", "{}/no"], "/no does not exist: expected the files of fer2013", 4),
        (["fer2013", "{}"], "no pictures of FER2013 in", 4),
        (["ravdess", "{}"], "no clips of RAVDESS below", 4),
        (["emodb", "{}"], "no clips of EMO-DB below", 4),
        (["meld", "{}"], "no table of MELD in", 4),
        (["affdex", "{}"], "no iMotions export in", 4),
        (["conversation", "{}"], "not a table, expected one of .csv", 4),
        (["fer2013", "{}", "--every", "3"], "--every means nothing for fer2013", 2),
        (["emodb", "{}", "--crop", "face"], "--crop means nothing for emodb", 2),
        (["meld", "{}", "--split", "lots"], "expected shares of train, valid and test", 2),
        (["meld", "{}", "--map", "joy"], "--map 'joy': expected OLD=EMOTION", 2),
        (["meld", "{}", "--map", "a=glee"], "'glee' is no emotion, expected one of neutral", 2),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(run, tmp_path, arguments, text, code):
    folder = tmp_path / "empty"
    folder.mkdir()
    if "--map" in arguments and "glee" in arguments[-1]:
        (folder / "train_sent_emo.csv").write_text(MELD, encoding="utf-8")
    filled = [argument.replace("{}", str(folder)) for argument in arguments]
    refused(run(*filled, "-o", tmp_path / "out"), text, code)


@pytest.mark.parametrize(
    ("option", "value", "choices"),
    [
        ("--crop", "hand", ("face", "person", "frame")),
        ("--by", "row", ("participant", "sample")),
        ("--duplicates", "all", ("refuse", "drop", "keep")),
    ],
)
def test_an_unknown_choice_is_refused_with_the_choices(run, tmp_path, option, value, choices):
    code, _, err = run("meld", tmp_path, "-o", tmp_path / "out", option, value)
    assert code == 2
    assert all(word in err for word in (option, value, *choices))


def test_the_help_shows_defaults_as_a_user_would_type_them(run):
    code, out, _ = run("--help")
    assert code == 0 and "[default: participant]" in out and "[default: (112)]" in out
    assert out.count("[default: (0)]") == 3 and "(0.0)" not in out


def test_preparing_and_reading_need_no_torch():
    code = (
        "import sys\n"
        "import affectstream.train.cli\n"
        "import affectstream.train.data.prepare.prepare, affectstream.train.data.prepare.report\n"
        "from affectstream.train.data.readers import load_reader, reader_names\n"
        "for name in reader_names(): load_reader(name)\n"
        "assert not {'torch', 'sklearn', 'scipy', 'lightning'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
