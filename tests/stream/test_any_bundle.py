"""Bundles of every kind stream: sequences, metadata, crops, earlier words, heads that tell other things."""

import json
import shutil

import jsonschema
import numpy as np
import pytest
from msgspec import structs

from affectstream.bench.engines.feeds import record_feeds
from affectstream.engines import Bundle, BundleError
from affectstream.engines.bundle.folder import read_manifest
from affectstream.engines.manifest import Calibration, FaceCrop
from affectstream.stream import OptionError, Recognizer, SourceOptions
from affectstream.stream.demo import babble
from affectstream.stream.events import encode, json_schema
from affectstream.stream.faces.crop import person_crop
from affectstream.stream.faces.measures.eyes import SHARE
from affectstream.stream.speaker_metadata import Speakers, read_speakers
from tests.support.media import Sound, write_video
from tests.support.scoring import run
from tests.support.small_bundles import MEASURED, WORDS, plain, rewrite

FRAME = FaceCrop(size=16, kind="frame")
SAID = [("Ann", "yes well"), ("Ben", "no"), ("Ann", "never"), (None, "always")]


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """Words alone: an utterance every second."""
    path = tmp_path_factory.mktemp("talk") / "talk.vtt"
    cues = [
        f"00:0{n}.100 --> 00:0{n}.900\n" + (f"<v {who}>{words}" if who else words)
        for n, (who, words) in enumerate(SAID)
    ]
    path.write_text("WEBVTT\n\n" + "\n\n".join(cues) + "\n")
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Three seconds: red for one and a half, then blue; made-up speech throughout. Nobody is in it."""
    pictures = [np.full((48, 64, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200))]
    frames = [pictures[n >= 15] for n in range(30)]
    sound = Sound(babble(4)[:48_000, None], 16_000)
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", frames, rate=10, sound=sound)


@pytest.fixture(scope="module")
def portrait_film(tmp_path_factory):
    """One second of a face."""
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    from affectstream.stream.demo import portrait

    picture = np.ascontiguousarray(portrait()[:288])
    size = (picture.shape[1], picture.shape[0])
    return write_video(
        tmp_path_factory.mktemp("face") / "face.mp4", [picture] * 10, size=size, rate=10
    )


def score(bundle, path, **options):
    with Recognizer.open(bundle, device="cpu", threads=1) as recognizer:
        return recognizer.score(path, SourceOptions(**options))


def fed(bundle, path):
    with Recognizer.open(bundle, device="cpu", threads=1) as recognizer:
        return record_feeds(recognizer, path)


def of(result, kind):
    return [event for event in result.events if event.type == kind]


def warnings(result):
    return [e.detail for e in of(result, "stream") if e.what == "warning"]


def chances(total, labels=3):
    """Probabilities of logits ``total x (0, 1, 2, ...)`` under an even prior."""
    weights = np.exp(np.arange(labels) * total - np.max(np.arange(labels) * total))
    return weights / weights.sum()


def test_words_as_a_sequence_reach_the_head_with_the_mask_of_their_tokens(tmp_path, talk):
    bundle = plain(tmp_path / "b", takes=("text",), steps={"text": 6})
    heads = fed(bundle, talk)["fusion"]
    first = heads[0]
    assert first["text"].shape == (1, 6, 1)
    assert first["text_mask"][0].tolist() == [True, True, False, False, False, False]
    assert first["text"][0, :, 0].tolist() == [4, 6, 0, 0, 0, 0]  # yes, well
    event = of(score(bundle, talk), "emotion")[2]
    assert list(event.scores.values()) == pytest.approx(chances(0.1 * 10), abs=1e-4)


def test_words_count_in_any_language_where_a_bundle_names_none(tmp_path, talk):
    one = plain(tmp_path / "one", takes=("text",))
    any_ = plain(tmp_path / "any", takes=("text",), languages=())
    assert {e.abstain for e in of(score(one, talk, language="de"), "emotion")} == {"language"}
    assert score(any_, talk, language="de").events == score(any_, talk).events
    assert any(e.scores for e in of(score(any_, talk), "emotion"))


def test_words_as_one_step_or_as_many_give_the_same_result(tmp_path, talk):
    pooled = plain(tmp_path / "one", takes=("text",))
    whole = plain(tmp_path / "many", takes=("text",), steps={"text": 6})
    assert score(pooled, talk).events == score(whole, talk).events


def test_a_voice_as_a_sequence_reaches_the_head_whole(tmp_path, film):
    bundle = plain(tmp_path / "b", takes=("voice",), steps={"voice": 4})
    head = fed(bundle, film)["fusion"][-1]
    assert head["voice"].shape == (1, 4, 1)
    assert head["voice_mask"].all()
    assert len(set(head["voice"].ravel().tolist())) == 4


def test_a_sequence_is_as_long_as_the_tokens(tmp_path):
    bundle = plain(tmp_path / "b", takes=("text",), steps={"text": 3}, max_tokens=6)
    message = r"text_encoder needs embedding \(N, 6, D\), found embedding \(N, 3, 1\)"
    with pytest.raises(BundleError, match=message):
        Bundle.open(bundle)


def test_a_head_takes_as_many_steps_as_the_encoder_gives(tmp_path):
    bundle = plain(tmp_path / "b", takes=("voice",), steps={"voice": 4})
    other = plain(tmp_path / "other", takes=("voice",), steps={"voice": 2})
    head, engines = read_manifest(other).engines.fusion, read_manifest(bundle).engines
    manifest = structs.replace(read_manifest(bundle), engines=structs.replace(engines, fusion=head))
    shutil.copyfile(other / head.file, bundle / head.file)
    rewrite(bundle, manifest)
    with pytest.raises(
        BundleError, match=r"fusion needs voice \(N, 4, 1\), found voice \(N, 2, 1\)"
    ):
        Bundle.open(bundle)


FACTS = ("age", "female", "male", "other", "listener_age", "listener_female")


@pytest.fixture
def metadata_file(tmp_path):
    path = tmp_path / "people.json"
    path.write_text(
        json.dumps(
            {
                "recording": {"age": 50, "gender": "female", "listener": {"age": 20}},
                "tracks": {"1": {"gender": "male"}},
            }
        )
    )
    return path


def test_speaker_metadata_reaches_the_head_and_changes_its_output(tmp_path, talk, metadata_file):
    bundle = plain(tmp_path / "b", takes=("text",), metadata=FACTS)
    without = score(bundle, talk)
    described = score(bundle, talk, metadata=read_speakers(metadata_file))
    plain_scores, scores = (of(r, "emotion")[2].scores for r in (without, described))
    # 3 x (0.5 + 1 + 0.2) for age, gender and the listener's age.
    assert list(plain_scores.values()) == pytest.approx(chances(1.0), abs=1e-4)
    assert list(scores.values()) == pytest.approx(chances(1.0 + 3 * 1.7), abs=1e-4)
    assert "person 1 was never seen" in warnings(described)


def test_unknown_speaker_features_are_masked(metadata_file):
    speakers = read_speakers(metadata_file)
    numbers, known = speakers.features(FACTS, None)
    assert numbers.tolist() == pytest.approx([0.5, 1, 0, 0, 0.2, 0])
    assert known.tolist() == [True, True, True, True, True, False]
    numbers, known = speakers.features(
        FACTS, 1
    )  # the track's own entry, and nothing of the recording's
    assert numbers.tolist() == [0, 0, 1, 0, 0, 0]
    assert known.tolist() == [False, True, True, True, False, False]
    assert not Speakers().features(FACTS, 1)[1].any()
    assert speakers.features(FACTS, 7)[0].tolist() == pytest.approx([0.5, 1, 0, 0, 0.2, 0])


def test_metadata_that_a_bundle_does_not_use_gives_a_warning(tmp_path, talk, metadata_file):
    bundle = plain(tmp_path / "b", takes=("text",))
    result = score(bundle, talk, metadata=read_speakers(metadata_file))
    assert warnings(result)[0] == "metadata is not used: bundle 'b' takes none"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Input data was truncated; expected for example"),
        ('{"recordings": {}}', "unknown field `recordings`"),
        ('{"recording": {"age": "old"}}', r'recording: age is "old": Expected `float \| null`'),
        ('{"tracks": {"1": {"age": 34}, "2": {"age": 340}}}', "track 2: age is 340: .*<= 130"),
        ('{"recording": null, "tracks": {"7": {"age": -3}}}', "track 7: age is -3: .*>= 0"),
        (
            '{"tracks": {"2": {"listener": {"gender": "woman"}}}}',
            "track 2: listener gender is \"woman\": Invalid enum value 'woman'",
        ),
        (
            '{"tracks": {"2": {"years": 3}}}',
            'track 2: the entry is {"years":3}: .*unknown field',
        ),
        ('{"tracks": {"1": 5}}', "track 1: the entry is 5: Expected `object"),
        ('{"tracks": {"Ann": {}}}', "track 'Ann': expected the number of a track, from 1 on"),
        ('{"tracks": {"0": {}}}', "track '0': expected the number"),
        ('{"tracks": []}', "Expected `object`, got `array`"),
        ("[1]", "Expected `object`, got `array`"),
    ],
)
def test_an_invalid_metadata_file_is_refused_with_the_reason(tmp_path, text, message):
    path = tmp_path / "people.json"
    path.write_text(text)
    with pytest.raises(OptionError, match=message) as caught:
        read_speakers(path)
    assert str(caught.value).startswith(str(path))


def test_the_command_takes_a_metadata_file(tmp_path, talk, metadata_file):
    bundle = plain(tmp_path / "b", takes=("text",), metadata=FACTS)
    done = run("score", talk, "--bundle", bundle, "--device", "cpu", "--metadata", metadata_file)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    scores = [line["scores"] for line in lines if line["type"] == "emotion"][2]
    assert list(scores.values()) == pytest.approx(chances(1.0 + 3 * 1.7), abs=1e-4)
    metadata_file.write_text("{")
    done = run("score", talk, "--bundle", bundle, "--device", "cpu", "--metadata", metadata_file)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {metadata_file}: Input data was truncated")


def test_a_missing_metadata_file_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"no\.json: .* cannot be read: No such file"):
        read_speakers(tmp_path / "no.json")


def test_a_head_with_metadata_input_must_name_its_features(tmp_path):
    bundle = plain(tmp_path / "b", takes=("text",), metadata=FACTS)
    rewrite(bundle, metadata=FACTS[:2])
    with pytest.raises(
        BundleError, match=r"fusion needs metadata \(N, 2\), found metadata \(N, 6\)"
    ):
        Bundle.open(bundle)
    rewrite(bundle, metadata=())
    with pytest.raises(
        BundleError, match=r"takes \['metadata', 'metadata_mask'\], which the manifest"
    ):
        Bundle.open(bundle)
    rewrite(bundle, metadata=("age", "age"))
    with pytest.raises(BundleError, match=r"metadata \['age', 'age'\] contains a name twice"):
        Bundle.open(bundle)


def test_whole_frames_are_used_without_a_face(tmp_path, film):
    bundle = plain(tmp_path / "b", takes=("video",), crop=FRAME)
    given = fed(bundle, film)
    assert set(given) == {"face_encoder", "fusion"}
    pixels = given["face_encoder"][0]["pixels"]
    assert pixels.shape[1:] == (16, 16, 3)
    assert pixels[0, 8, 8].tolist() == pytest.approx([200, 0, 0], abs=6)
    assert pixels[0, 0].max() == 0  # 64 x 48 on black
    result = score(bundle, film)
    events = of(result, "emotion")
    assert len(events) == 6
    assert {(e.track, e.modalities) for e in events} == {(None, ("video",))}
    # Four looks a window; three quarters of each show one colour of 200.
    assert list(events[2].scores.values()) == pytest.approx(chances(4 * 0.75 * 200 / 255), abs=0.01)
    assert of(result, "attention") == []  # nobody's head was looked for


def test_frozen_video_abstains_with_no_picture(tmp_path):
    sound = Sound(babble(4)[:64_000, None], 16_000)
    path = write_video(tmp_path / "short.mp4", 10, rate=10, sound=sound)
    bundle = plain(tmp_path / "b", takes=("video",), crop=FRAME)
    events = of(score(bundle, path), "emotion")
    assert events[0].modalities == ("video",)
    assert (events[-1].modalities, events[-1].abstain) == ((), "no_picture")
    assert events[-1].t_end == pytest.approx(4.0, abs=0.1)


def test_a_person_crop_is_placed_by_the_face(tmp_path, portrait_film):
    face = plain(tmp_path / "face", takes=("video",))
    person = plain(tmp_path / "person", takes=("video",), crop=FaceCrop(size=32, kind="person"))
    from affectstream.stream.faces.perceive import Perceiver
    from affectstream.stream.media.picture import to_rgb
    from affectstream.stream.media.recording import Recording
    from affectstream.stream.media.types import Frame

    with Recording.open(portrait_film) as recording:
        frame = next(item for item in recording if isinstance(item, Frame))
    seen = {}
    for folder in (face, person):
        with Bundle.open(folder) as bundle:
            (seen[folder.name],) = Perceiver(bundle).perceive([frame])
    (of_face,), (of_person,) = seen["face"].faces, seen["person"].faces
    # The same face, judged alike; what the encoder was shown differs.
    assert of_face.box == of_person.box
    assert of_face.quality == of_person.quality
    assert np.array_equal(of_face.appearance, of_person.appearance)
    shown = person_crop(to_rgb(frame), of_person.box, 32)
    assert of_person.embeddings[0] == pytest.approx(shown.mean((0, 1)) / 255, abs=1e-5)
    assert np.abs(of_face.embeddings[0] - of_person.embeddings[0]).max() > 0.02
    events = of(score(person, portrait_film), "emotion")
    assert (events[-1].track, events[-1].modalities) == (1, ("video",))


@pytest.mark.parametrize(
    ("crop", "changes", "message"),
    [
        (FRAME, {"crop": FaceCrop(size=16, kind="person")}, "a person needs a face_detector"),
        (
            FaceCrop(16, kind="person"),
            {"crop": FRAME},
            "where the crop is the whole frame: leave it",
        ),
        (
            FaceCrop(16, kind="person"),
            {"crop": FaceCrop(16)},
            "has 0 points, expected 5 for a face",
        ),
        (
            FRAME,
            {"crop": FaceCrop(16, ((1.0, 1.0),), "frame")},
            "has 1 points, expected 0 for a frame",
        ),
        (FRAME, {"crop": None}, "face_encoder and crop belong together"),
    ],
)
def test_a_crop_that_does_not_fit_the_engines_is_refused(tmp_path, crop, changes, message):
    bundle = plain(tmp_path / "b", takes=("video",), crop=crop)
    rewrite(bundle, **changes)
    with pytest.raises(BundleError, match=message):
        Bundle.open(bundle)


def ids(bundle, talk):
    """The words that the text encoder was given, cue after cue."""
    calls = fed(bundle, talk)["text_encoder"]
    return [" ".join(WORDS[n] for n in call["ids"][0][call["mask"][0]]) for call in calls]


def test_earlier_utterances_are_joined_with_their_turns_marked(tmp_path, talk):
    bundle = plain(tmp_path / "b", takes=("text",), context=2, max_tokens=12)
    assert ids(bundle, talk) == [
        "yes well",
        "B: yes well A: no",
        "A: yes well B: no A: never",
        "B: no A: never always",
    ]


def test_without_context_an_utterance_stands_alone_and_is_encoded_once(tmp_path, talk):
    assert ids(plain(tmp_path / "b", takes=("text",)), talk) == [words for _, words in SAID]


def test_long_text_keeps_its_end_with_context_and_its_beginning_without(tmp_path, talk):
    long = plain(tmp_path / "long", takes=("text",), context=2, max_tokens=4)
    assert ids(long, talk)[2] == "B: no A: never"
    alone = plain(tmp_path / "alone", takes=("text",), max_tokens=1)
    assert ids(alone, talk) == ["yes", "no", "never", "always"]


def test_a_head_that_predicts_attention_only(tmp_path, film):
    bundle = plain(tmp_path / "b", takes=("video",), crop=FRAME, answers=("attention",), labels=())
    result = score(bundle, film)
    assert of(result, "emotion") == []
    events = of(result, "attention")
    assert len(events) == 6
    event = events[-1]
    assert (event.method, event.state, event.track) == ("model", "attentive", None)
    assert event.score == pytest.approx(0.5 + 4 * 0.75 * 200 / 255 / 1000, abs=1e-4)
    assert (event.yaw, event.modalities) == (None, ("video",))
    (segment,) = of(result, "segment")
    assert (segment.of, segment.state, segment.modalities) == ("attention", "attentive", ("video",))
    table = result.readings
    assert table.column("attention").to_pylist()[-1] == event.score


def test_unknown_head_outputs_are_ignored(tmp_path, film):
    outputs = ("attention", "mood")
    bundle = plain(tmp_path / "b", takes=("video",), crop=FRAME, answers=outputs, labels=())
    with Bundle.open(bundle) as opened:
        assert opened.head_outputs == {"attention"}
    assert of(score(bundle, film), "emotion") == []


def test_attention_of_a_head_comes_with_the_angles_of_the_face(tmp_path, portrait_film):
    bundle = plain(tmp_path / "b", takes=("video",), answers=("logits", "attention"))
    event = of(score(bundle, portrait_film), "attention")[-1]
    assert event.method == "model"
    assert abs(event.yaw) < 40


def test_a_head_with_every_output(tmp_path, talk):
    outputs = (
        "logits",
        "valence",
        "arousal",
        "engagement",
        "intensity",
        "sentiment",
        "intensities",
    )
    bundle = plain(tmp_path / "b", takes=("text",), answers=outputs)
    result = score(bundle, talk)
    event = of(result, "emotion")[2]
    assert event.label is not None
    assert (event.valence, event.arousal, event.engagement) == (0.501, 0.501, 0.501)
    assert (event.intensity, event.derived) == (0.501, False)
    assert event.sentiment == {"negative": 0.501, "neutral": 0.501, "positive": 0.501}
    assert event.intensities == {"neutral": 0.501, "joy": 0.501, "sadness": 0.501}
    row = result.readings.to_pylist()[2]
    assert (row["valence"], row["arousal"], row["derived"]) == (0.501, 0.501, False)
    assert (row["sentiment_positive"], row["joy_intensity"], row["intensity"]) == (0.501,) * 3
    silent = of(result, "emotion")[0]
    assert (silent.sentiment, silent.intensity, silent.abstain) == (None, None, "no_words")
    assert (silent.arousal, silent.derived) == (None, None)


def test_intensities_alone_keep_the_labels(tmp_path, talk):
    bundle = plain(tmp_path / "b", takes=("text",), answers=("intensities",))
    event = of(score(bundle, talk), "emotion")[2]
    assert (event.label, event.scores, event.abstain) == (None, None, None)
    assert set(event.intensities) == {"neutral", "joy", "sadness"}


def test_no_labels_at_all(tmp_path, talk):
    bundle = plain(tmp_path / "b", takes=("text",), answers=("valence",), labels=())
    result = score(bundle, talk)
    event = of(result, "emotion")[2]
    assert (event.label, event.scores, event.valence) == (None, None, 0.501)
    assert {e.of for e in of(result, "segment")} == set()


def test_events_of_every_kind_of_head_fit_the_schema(tmp_path, talk, film):
    import jsonschema

    check = jsonschema.Draft202012Validator(json_schema())
    outputs = (
        "logits",
        "valence",
        "arousal",
        "engagement",
        "intensity",
        "sentiment",
        "intensities",
        "attention",
    )
    words = plain(tmp_path / "words", takes=("text",), answers=outputs)
    frames = plain(tmp_path / "frames", takes=("video", "voice"), crop=FRAME, answers=outputs[1:])
    for event in (*score(words, talk).events, *score(frames, film).events):
        check.validate(json.loads(encode(event)))


NOTHING = Calibration(prior=(), temperature={}, min_confidence={})


@pytest.mark.parametrize(
    ("answers", "changes", "message"),
    [
        (("mood",), {}, r"fusion needs logits \(N, 3\), found nothing of that name"),
        (("mood",), {"labels": (), "calibration": NOTHING}, r"fusion needs logits \(N, C\)"),
        (("valence",), {}, r"fusion needs logits \(N, 3\), found nothing of that name"),
        (("logits",), {"labels": (), "calibration": NOTHING}, r"found logits \(N, 3\)"),
        (("logits",), {"labels": ()}, "3 prior probabilities for 0 labels"),
    ],
)
def test_labels_must_fit_the_outputs_of_the_head(tmp_path, answers, changes, message):
    bundle = plain(tmp_path / "b", takes=("text",), answers=answers)
    rewrite(bundle, **changes)
    with pytest.raises(BundleError, match=message):
        Bundle.open(bundle)


def test_a_bundle_with_geometry_measures_faces_and_says_by_which_method(tmp_path, portrait_film):
    bundle = plain(tmp_path / "b", takes=("video",), geometry=True)
    result = score(bundle, portrait_film)
    first, *_ = of(result, "attention")
    yaw, pitch, roll, _, _, mouth, eyes_yaw, eyes_pitch = MEASURED
    assert (first.yaw, first.pitch, first.roll) == pytest.approx((yaw, pitch, roll))
    assert first.method == "gaze"
    assert first.gaze_yaw == pytest.approx(yaw + SHARE * eyes_yaw)
    assert first.gaze_pitch == pytest.approx(pitch + SHARE * eyes_pitch)
    assert 0.8 < first.eyes_open <= 1
    assert first.mouth_open == pytest.approx(mouth)
    jsonschema.validate(json.loads(encode(first)), json_schema())
    row = result.readings.to_pylist()[0]
    assert (row["attention_method"], row["gaze_yaw"], row["eyes_open"], row["blink_rate"]) == (
        "gaze",
        first.gaze_yaw,
        first.eyes_open,
        None,
    )
    (by_head, *_) = of(score(bundle, portrait_film, attention="head_pose"), "attention")
    assert (by_head.method, by_head.gaze_yaw) == ("head_pose", first.gaze_yaw)


def test_a_bundle_without_geometry_measures_the_head_pose(tmp_path, portrait_film):
    result = score(plain(tmp_path / "b", takes=("video",)), portrait_film)
    assert {e.method for e in of(result, "attention")} == {"head_pose"}
    assert set(result.readings["gaze_yaw"].to_pylist()) == {None}


def test_an_unknown_attention_is_refused():
    with pytest.raises(OptionError, match="expected one of gaze, head_pose, found 'eyes'"):
        SourceOptions(attention="eyes")
