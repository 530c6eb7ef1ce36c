"""Teaching a bundle: from coded recordings to a head that says what the coder says, or a refusal."""

import json

import numpy as np
import pytest

pytest.importorskip("scipy", reason="teaching needs the 'teach' extra")
pytest.importorskip("threadpoolctl", reason="teaching needs the 'teach' extra")

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import read_manifest
from affectstream.engines.bundle.taught import TAUGHT
from affectstream.engines.errors import BundleError
from affectstream.stream import Recognizer, SourceOptions, exits
from affectstream.stream.errors import OptionError, SourceError
from affectstream.train.errors import DataError, RunError
from affectstream.train.teach.teach import Settings, teach
from tests.support.command import run_command
from tests.support.media import Sound, write_video
from tests.support.small_bundles import compound, plain

LOUD = {"neutral": 0.1, "joy": 0.4, "sadness": 0.8}
"""How loud somebody is in each state; the small bundle takes the loudest for joy's opposite."""
RATE = 16_000
PERIOD = 4.0
VOICE = SourceOptions(vad="none")


def recording(path, states, seed=0):
    """Noise whose loudness tells the state; each state lasts `PERIOD` seconds."""
    generator = np.random.default_rng(seed)
    parts = [
        level
        * (generator.uniform(0.9, 1.0, (round(PERIOD * RATE), 1)))
        * np.sign(generator.uniform(-1, 1, (round(PERIOD * RATE), 1)))
        for level in (LOUD.get(state, state) for state in states)
    ]
    data = np.concatenate(parts).astype(np.float32)
    return write_video(path, 0, sound=Sound(data, RATE, "flac"))


def coding(path, labels, person=None):
    rows = [
        f"{n * PERIOD:g},{(n + 1) * PERIOD:g},{label}" + (f",{person}" if person else "")
        for n, label in enumerate(labels)
    ]
    head = "start,end,label" + (",person" if person else "")
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle that hears how loud somebody is, and has no other sense."""
    return plain(tmp_path_factory.mktemp("base") / "base", takes=("voice",))


STATES = ["neutral", "joy", "sadness", "joy", "neutral", "sadness"]


def write_archive(root):
    """Recordings of six people in `root`/rec, and their codings in `root`/ann."""
    (root / "rec").mkdir()
    (root / "ann").mkdir()
    for n in range(6):
        states = STATES[n % 3 :] + STATES[: n % 3]
        recording(root / "rec" / f"talk{n}.flac", states, seed=n)
        coding(root / "ann" / f"talk{n}.csv", states, person=f"P{n}")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Six people, each recorded once, and what a coder says of them."""
    root = tmp_path_factory.mktemp("archive")
    write_archive(root)
    return root


@pytest.fixture(scope="module")
def taught(bundle, archive, tmp_path_factory):
    output = tmp_path_factory.mktemp("taught") / "mine"
    settings = Settings(options=VOICE)
    return teach(archive / "rec", archive / "ann", output, bundle=bundle, settings=settings)


def test_it_helps_people_who_were_held_out(taught):
    found = taught.comparison
    assert (found.by, found.units, found.outcome) == ("person", 6, "helps")
    assert found.after["accuracy"].value > found.before["accuracy"].value + 0.2
    assert found.difference["log_loss"].high < 0
    assert found.before["accuracy"].low <= found.before["accuracy"].value
    assert "6 people" in found.claim


def test_the_new_bundle_says_it_by_itself(taught, bundle, archive, tmp_path):
    recording(tmp_path / "new.flac", STATES, seed=99)
    shares = []
    for folder in (bundle, taught.output):
        with Recognizer.open(folder, device="cpu") as recognizer:
            rows = recognizer.score(tmp_path / "new.flac", VOICE).readings.to_pylist()
        inside = [row for row in rows if row["t_start"] % PERIOD >= 1.0 and row["joy"] is not None]
        names = ("neutral", "joy", "sadness")
        guesses = [max(names, key=lambda name, row=row: row[name]) for row in inside]
        truth = [STATES[int(row["t_start"] // PERIOD)] for row in inside]
        shares.append(np.mean([a == b for a, b in zip(guesses, truth, strict=True)]))
    before, after = shares
    assert after > before + 0.2


def test_the_bundle_carries_where_it_comes_from(taught, bundle):
    manifest, base = read_manifest(taught.output), read_manifest(bundle)
    assert manifest.labels == base.labels
    assert manifest.engines.voice_encoder == base.engines.voice_encoder
    assert "6 people" in manifest.summary
    assert {row.metric for row in manifest.results} >= {"accuracy", "log_loss"}
    card = (taught.output / "CARD.md").read_text()
    assert "36 coded stretches" in card and "P3" not in card  # no names of people
    document = json.loads((taught.output / TAUGHT).read_text())
    assert document["comparison"]["outcome"] == "helps"
    assert document["lesson"]["recordings"] == len(document["lesson"]["recordings_sha256"]) == 6


def test_a_recording_that_cannot_be_read_is_refused_before_anything_is_scored(
    bundle, tmp_path, monkeypatch
):
    def unreadable(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("affectstream.train.data.reading.clips.sha256", unreadable)
    sides = recording(tmp_path / "talk.flac", STATES), coding(tmp_path / "talk.csv", STATES)
    lines = []
    with pytest.raises(SourceError, match=r"talk\.flac cannot be read: .*Input/output error"):
        teach(*sides, tmp_path / "new", bundle=bundle, report=lines.append)
    assert not lines


def test_its_recordings_do_not_evaluate_it(taught, archive, tmp_path):
    """Prepared as a data set, they are recognized by their files, in any split and however few they are."""
    pytest.importorskip("torch", reason="evaluating needs the 'train' extra")
    from affectstream.train.data.prepare.prepare import PrepareConfig, prepare
    from affectstream.train.fit.unseen import check_unseen, taught_samples_of, was_trained_on

    def data(name, recordings):
        rows = [f"{path},joy,{n},{n + 4},train" for path in recordings for n in (0, 4)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["audio,label,start,end,split", *rows]))
        prepare(PrepareConfig(set="conversation"), tmp_path / f"{name}.csv", tmp_path / name)
        return tmp_path / name

    others = [recording(tmp_path / f"new{n}.flac", STATES, seed=50 + n) for n in range(3)]
    mixed = data("mixed", [*others, archive / "rec/talk2.flac"])
    with pytest.raises(
        RunError, match=r"taught with the recordings that samples of .*mixed were cut from \(2 of 8"
    ):
        check_unseen(taught.output, mixed, "train")
    assert was_trained_on(taught.output, mixed)
    new = data("new", others)
    check_unseen(taught.output, new, "train")
    known = taught_samples_of(taught.output, new, "train")
    assert (known.recordings, known.in_doubt) == (6, 0)
    assert "no sample was cut from their files" in known.remark("mine")


def test_what_was_not_coded_stays(bundle, tmp_path):
    base = plain(tmp_path / "base", takes=("voice", "text"))
    (tmp_path / "rec").mkdir()
    for n in range(2):
        recording(tmp_path / "rec" / f"t{n}.flac", STATES * 2, seed=n)
        coding(tmp_path / f"t{n}.csv", STATES * 2)
    found = teach(
        tmp_path / "rec",
        [tmp_path / "t0.csv", tmp_path / "t1.csv"],
        tmp_path / "mine",
        bundle=base,
        settings=Settings(options=VOICE),
        write_anyway=True,
    )
    temperature = read_manifest(found.output).calibration.temperature
    assert temperature["text"] == temperature["voice+text"] == 1.0
    assert temperature["voice"] != 1.0


def test_what_cannot_be_learned_is_not_written(bundle, archive, tmp_path):
    generator = np.random.default_rng(5)
    (tmp_path / "ann").mkdir()
    for n in range(6):  # labels that have nothing to do with the sound
        labels = generator.permutation(STATES)
        coding(tmp_path / "ann" / f"talk{n}.csv", labels, person=f"P{n}")
    where = (archive / "rec", tmp_path / "ann", tmp_path / "mine")
    found = teach(*where, bundle=bundle, settings=Settings(options=VOICE))
    assert (found.comparison.outcome, found.output) == ("does not help", None)
    assert not (tmp_path / "mine").exists()
    forced = teach(*where, bundle=bundle, settings=Settings(options=VOICE), write_anyway=True)
    assert forced.output is not None and "does not help" in (forced.output / "CARD.md").read_text()


def test_a_new_label_is_learned(bundle, tmp_path):
    (tmp_path / "rec").mkdir()
    (tmp_path / "ann").mkdir()
    states = [0.1, 0.4, 0.98, 0.4, 0.1, 0.98]
    labels = ["neutral", "joy", "bored", "joy", "neutral", "bored"]
    for n in range(5):
        recording(tmp_path / "rec" / f"t{n}.flac", states, seed=n)
        coding(tmp_path / "ann" / f"t{n}.csv", labels)
    where = (tmp_path / "rec", tmp_path / "ann", tmp_path / "mine")
    with pytest.raises(OptionError, match="does not know 'bored' \\(10 stretches\\)"):
        teach(*where, bundle=bundle, settings=Settings(options=VOICE))
    settings = Settings(options=VOICE, new_labels=("bored",))
    found = teach(*where, bundle=bundle, settings=settings)
    assert found.comparison.after["accuracy"].value > 0.7
    assert "say so with --people" in found.comparison.claim
    assert "say so with --people" in (found.output / "CARD.md").read_text()
    with Bundle.open(found.output) as opened:
        assert opened.manifest.labels == ("neutral", "joy", "sadness", "bored")
    with Recognizer.open(found.output, device="cpu") as recognizer:
        table = recognizer.score(tmp_path / "rec" / "t0.flac", VOICE).readings.to_pylist()
    assert max(row["bored"] or 0 for row in table) > 0.5


def test_one_person_carries_no_claim_about_others(bundle, tmp_path):
    recording(tmp_path / "talk.flac", STATES * 3)
    coding(tmp_path / "talk.csv", STATES * 3)
    found = teach(
        tmp_path / "talk.flac",
        tmp_path / "talk.csv",
        tmp_path / "mine",
        bundle=bundle,
        settings=Settings(options=VOICE),
    )
    assert (found.comparison.by, found.comparison.units) == ("block", 3)
    assert found.comparison.outcome == "unproven"
    assert "nothing can be claimed" in found.comparison.claim
    assert np.isnan(found.comparison.difference["log_loss"].low)


def test_categories_that_are_not_used_are_named(bundle, tmp_path):
    recording(tmp_path / "talk.flac", STATES * 3)
    rows = coding(tmp_path / "talk.csv", STATES * 3).read_text().splitlines()
    kinds = ["kind", *["emotion"] * (len(rows) - 1)]
    rows = [f"{row},{kind}" for row, kind in zip(rows, kinds, strict=True)]
    (tmp_path / "talk.csv").write_text(
        "\n".join([*rows, "0,2,smile,Face", "3,4,frown,Face", "5,6,nod,Head"])
    )
    found = teach(
        tmp_path / "talk.flac",
        tmp_path / "talk.csv",
        tmp_path / "mine",
        bundle=bundle,
        settings=Settings(options=VOICE),
    )
    (note,) = [note for note in found.notes if "Face" in note or "face" in note]
    assert note.startswith(
        "not used, since it is no emotion: 'face' (2 stretches), 'head' (1 stretch). If "
    )


def test_two_people_are_too_few_for_a_claim(bundle, tmp_path):
    states = STATES * 2
    for n in (0, 1):
        recording(tmp_path / f"talk{n}.flac", states, seed=n)
        coding(tmp_path / f"talk{n}.csv", states, person=f"P{n}")
    found = teach(
        [tmp_path / "talk0.flac", tmp_path / "talk1.flac"],
        [tmp_path / "talk0.csv", tmp_path / "talk1.csv"],
        tmp_path / "mine",
        bundle=bundle,
        settings=Settings(options=VOICE),
    )
    assert (found.comparison.by, found.comparison.units) == ("person", 2)
    assert found.comparison.outcome == "unproven" and found.output is not None
    assert "too few for an interval" in (tmp_path / "mine" / "CARD.md").read_text()


def refused(error, match, bundle, tmp_path, rows, **settings):
    recording(tmp_path / "talk.flac", STATES)
    (tmp_path / "talk.csv").write_text("start,end,label,person\n" + rows)
    with pytest.raises(error, match=match):
        teach(
            tmp_path / "talk.flac",
            tmp_path / "talk.csv",
            tmp_path / "mine",
            bundle=bundle,
            settings=Settings(options=VOICE, **settings),
        )
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("rows", "settings", "error", "match"),
    [
        ("0,4,joy,\n4,60,neutral,\n", {}, DataError, "from 4 to 60 s, but talk.flac is 24 s long"),
        ("0,4,joy,3\n4,20,neutral,3\n", {}, DataError, "track 3 is never seen nor heard"),
        ("0,4,joy,Ann\n4,9,neutral,Ben\n", {}, OptionError, "which track 'Ann' is: name the"),
        ("0,9,joy,\n9,20,joy,\n", {}, DataError, "everything is coded as 'joy'"),
        ("0,2,joy,\n2,4,neutral,\n", {}, DataError, r"4 s are coded: expected 10 s"),
        ("0,5,joy,\n5,10,neutral,\n", {}, DataError, r"9\.5 s can be used .* expected 10 s"),
        ("0,9,joy,\n", {"rename": {"glee": "joy"}}, OptionError, "no 'glee'; they have joy"),
        ("0,9,joy,Ann\n", {"skip_tiers": ("An",)}, OptionError, "--skip-tier 'An': .* are 'Ann'"),
        ("0,9,joy,\n", {"leave_out": ("talk",)}, OptionError, "--leave-out talk: the annotations"),
        ("0,9,joy,Ann\n", {"tracks": {"Anna": 1}}, OptionError, "--person Anna: .* they have Ann"),
        ("0,9,joy,\n", {"reviewed": (30.0, 60.0)}, DataError, "stretches within --start and --end"),
        ("0,9,joy,\n", {"reviewed": (5.0, 2.0)}, OptionError, "--start 5 --end 2: expected an end"),
        ("0,9,joy,\n", {"rename": {"joy": "glee"}}, OptionError, "'glee' is no label of bundle"),
        ("0,9,joy,\n", {"new_labels": ("quality",)}, OptionError, "no column of the"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    bundle, tmp_path, rows, settings, error, match
):
    refused(error, match, bundle, tmp_path, rows, **settings)


def test_a_recording_with_several_parts_in_a_table_is_one_recording(bundle, archive, tmp_path):
    coding(tmp_path / "talk0.csv", ["joy"])
    table = archive / "rec/parts.csv"
    table.write_text("path,start,end\ntalk0.flac,0,4\ntalk0.flac,4,8\n")
    with pytest.raises(DataError, match="everything is coded as 'joy'"):
        teach(table, tmp_path / "talk0.csv", tmp_path / "mine", bundle=bundle)
    table.unlink()


def test_a_folder_of_something_else_is_refused_before_anything_is_scored(bundle, archive, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    lines = []
    with pytest.raises(RunError, match="holds something that is no bundle"):
        teach(archive / "rec", archive / "ann", tmp_path, bundle=bundle, report=lines.append)
    with pytest.raises(SourceError, match=r"none\.mp4: no such file"):
        teach(tmp_path / "none.mp4", archive / "ann", tmp_path / "new", bundle=bundle)
    assert not lines


def test_a_bundle_of_members_is_refused(tmp_path):
    root = tmp_path / "both"
    members = [plain(root / name, takes=("voice",)) for name in ("a", "b")]
    both = compound(root, members, (0.5, 0.5))
    refused(BundleError, "teach one of them .*--bundle .*a --output", both, tmp_path, "0,9,joy,\n")


def test_the_command_says_what_it_did(bundle, archive, tmp_path, capsys):
    arguments = (
        "teach",
        archive / "rec",
        "-a",
        archive / "ann",
        "--bundle",
        bundle,
        "--vad",
        "none",
    )
    code = run_command(*arguments, "-o", tmp_path / "mine", "--depth", "calibration")
    shown = capsys.readouterr()
    assert code in (exits.DONE, exits.PARTLY)
    assert "Held out: 6 people" in shown.out and "log loss" in shown.out
    assert "6 of 6: talk5.flac" in shown.err
    assert run_command(*arguments, "-o", tmp_path / "x", "--person", "Ann=x") == exits.USAGE


def test_the_command_replaces_no_bundle_unasked(tmp_path, capsys):
    earlier = tmp_path / "mine"
    earlier.mkdir()
    (earlier / "bundle.json").write_text("{}")
    assert run_command("teach", tmp_path, "-a", tmp_path, "-o", earlier) == exits.USAGE
    assert "already holds a bundle: replace it with --overwrite" in capsys.readouterr().err
    assert (earlier / "bundle.json").read_text() == "{}"


def test_the_loop_from_score_through_elan_and_back(bundle, tmp_path, capsys):
    elan = pytest.importorskip("pympi.Elan", reason="ELAN files need the 'agree' extra")
    talk = recording(tmp_path / "talk.flac", STATES * 3)
    options = ("--bundle", bundle, "--vad", "none")
    run_command("score", talk, "-o", tmp_path / "results", "--format", "eaf,parquet", *options)
    file = elan.Eaf(str(tmp_path / "results" / "talk.flac" / "annotations.eaf"))
    file.remove_all_annotations_from_tier("recording emotion")
    for n, state in enumerate(STATES * 3):
        start = round(n * PERIOD * 1000)
        file.add_annotation("recording emotion", start, start + round(PERIOD * 1000), state)
    (tmp_path / "coded").mkdir()
    file.to_file(str(tmp_path / "coded" / "talk.eaf"))

    assert run_command("agree", tmp_path / "results", tmp_path / "coded") == exits.DONE
    arguments = ("-a", tmp_path / "coded", "-o", tmp_path / "mine")
    assert run_command("teach", talk, *arguments, *options) == exits.DONE
    assert "least of all about other people" in capsys.readouterr().out
    again = ("--bundle", tmp_path / "mine", "--vad", "none", "--format", "csv")
    assert run_command("score", talk, "-o", tmp_path / "again", *again) == exits.DONE
