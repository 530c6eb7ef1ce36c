from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.faces.face import Face
from affectstream.stream.faces.measures.pose import Pose
from affectstream.stream.results.attention import AttentionMeter, angle_score

HOP = 500_000


def looking(yaw, pitch=0.0):
    """A face of which only the head's pose is known."""
    points = np.zeros((5, 2), np.float32)
    return Face((0, 0, 9, 9), points, 1.0, pose=Pose(yaw, pitch, 0.0))


def run(meter, yaws, start=0):
    """One hop for each yaw (None: no face), four grid points each."""
    out = []
    for hop, yaw in enumerate(yaws, start):
        poses = [] if yaw is None else [(hop * HOP + i * 125_000, looking(yaw)) for i in range(4)]
        out.append(meter.push(poses, (hop + 1) * HOP))
    return out


def test_the_rule_as_written():
    assert angle_score(0) == 1.0
    assert angle_score(15) == 1.0
    assert angle_score(25) == pytest.approx(0.5)
    assert angle_score(35) == 0.0
    assert angle_score(90) == 0.0


@given(st.floats(0, 180))
def test_score_is_in_range(angle):
    assert 0.0 <= angle_score(angle) <= 1.0


def test_between_the_thresholds_the_last_state_stays():
    states = [a.state for a in run(AttentionMeter("head_pose"), [0, 25, 32, 25, 0])]
    assert states == ["attentive", "attentive", "away", "away", "attentive"]


def test_absent_after_a_second_without_a_face():
    states = [a.state for a in run(AttentionMeter("head_pose"), [0, None, None, None, 0])]
    assert states == ["attentive", "attentive", "absent", "absent", "attentive"]


def test_a_track_without_any_face_is_absent():
    verdict = AttentionMeter("head_pose").push([], HOP)
    assert (verdict.state, verdict.score, verdict.yaw) == ("absent", None, None)


def test_a_baseline_corrects_for_a_camera_above_the_screen():
    plain, learned = AttentionMeter("head_pose"), AttentionMeter("head_pose", baseline_us=2_000_000)
    yaws = [30.0] * 6
    assert run(plain, yaws)[-1].state == "away"
    last = run(learned, yaws)[-1]
    assert last.state == "attentive"
    assert last.yaw == 30.0  # the angles stay as measured


def test_the_baseline_is_learned_from_its_seconds_only():
    meter = AttentionMeter("head_pose", baseline_us=1_000_000)
    run(meter, [0.0, 0.0])
    assert run(meter, [40.0] * 20, start=2)[-1].state == "away"


def states_of(meter, scores):
    """The states of one hop for each score of a head (None: the head had no input)."""
    return [meter.push([], (n + 1) * HOP, s).state for n, s in enumerate(scores)]


def test_scores_of_a_head_lead_to_the_same_states():
    assert states_of(AttentionMeter("model"), [0.9, 0.5, 0.3, 0.5, 0.7]) == [
        "attentive",
        "attentive",
        "away",
        "away",
        "attentive",
    ]
    assert states_of(AttentionMeter("model"), [0.45]) == ["away"]
    assert states_of(AttentionMeter("model"), [0.55]) == ["attentive"]


def test_the_last_score_of_a_head_stays_for_a_second():
    assert states_of(AttentionMeter("model"), [None, 0.9, None, None, None]) == [
        "absent",
        "attentive",
        "attentive",
        "attentive",
        "absent",
    ]


def test_each_state_has_a_score_of_its_own():
    there, aside = run(AttentionMeter("head_pose"), [20, 33])
    gone = AttentionMeter("head_pose").push([], HOP)
    assert [one.state for one in (there, aside, gone)] == ["attentive", "away", "absent"]
    assert there.score == there.state_score == pytest.approx(0.75)
    assert (aside.score, aside.state_score) == (pytest.approx(0.1), pytest.approx(0.9))
    assert (gone.score, gone.state_score) == (None, 1.0)


def test_a_reading_names_its_method():
    meter = AttentionMeter("model")
    there = meter.push([(0, looking(12.0))], HOP, 0.9)
    assert (there.method, there.score, there.yaw) == ("model", 0.9, 12.0)
    assert meter.push([], 2 * HOP, 0.8).yaw is None
    assert AttentionMeter("head_pose").push([(0, looking(0.0))], HOP).method == "head_pose"


# --- by gaze ---


def gazing(gaze=(0.0, 0.0), eyes=1.0, head=(0.0, 0.0)):
    """A face whose eyes look to `gaze`; None: closed."""
    looks = None if eyes < 0.25 else gaze
    return replace(looking(*head), gaze=looks, eyes_open=eyes, mouth_open=0.1)


def run_gaze(faces, meter=None):
    """Readings of hops of four faces each."""
    meter = meter or AttentionMeter("gaze")
    out = []
    for hop in range(len(faces) // 4):
        first = 4 * hop
        timed = [((first + n) * 125_000, faces[first + n]) for n in range(4)]
        out.append(meter.push(timed, (hop + 1) * HOP))
    return out


OPEN, CLOSED = gazing(), gazing(eyes=0.05)


def test_eyes_on_the_camera_are_attentive_though_the_head_is_turned():
    (found,) = run_gaze([gazing((2.0, 1.0), head=(30.0, 0.0))] * 4)
    assert (found.state, found.method, found.yaw, found.gaze_yaw) == (
        "attentive",
        "gaze",
        30.0,
        2.0,
    )
    (found,) = run_gaze([gazing((40.0, 0.0), head=(5.0, 0.0))] * 4)
    assert found.state == "away"
    (found,) = run_gaze([gazing((0.0, -40.0))] * 4)
    assert (found.state, found.gaze_pitch) == ("away", -40.0)


def test_eyes_that_stay_closed_are_away_and_blinks_are_not():
    blinking = run_gaze([OPEN] * 4 + [OPEN, CLOSED, CLOSED, OPEN] + [OPEN] * 4)
    assert [(a.state, a.score) for a in blinking] == [("attentive", 1.0)] * 3
    asleep = run_gaze([OPEN] * 4 + [CLOSED] * 12)
    assert [a.state for a in asleep] == ["attentive", "away", "away", "away"]
    assert (asleep[-1].score, asleep[-1].gaze_yaw, asleep[-1].eyes_open) == (0.0, None, 0.05)


def test_a_blink_across_two_hops_is_still_a_blink():
    found = run_gaze([OPEN, OPEN, OPEN, CLOSED, CLOSED, CLOSED, OPEN, OPEN])
    assert [a.state for a in found] == ["attentive", "attentive"]


def test_eyes_that_close_before_a_hop_ends_are_away_once_it_is_no_blink():
    found = run_gaze([OPEN, OPEN, CLOSED, CLOSED] + [CLOSED] * 4)
    assert [a.state for a in found] == ["attentive", "away"]


def test_a_baseline_of_the_gaze():
    meter = AttentionMeter("gaze", baseline_us=1_000_000)
    aside = gazing((30.0, -10.0), head=(20.0, -5.0))
    assert run_gaze([aside] * 16, meter)[-1].state == "attentive"


def test_closed_eyes_do_not_change_attention_by_head_pose():
    found = run_gaze([CLOSED] * 8, AttentionMeter("head_pose"))
    assert [(a.state, a.method, a.eyes_open) for a in found] == [
        ("attentive", "head_pose", 0.05)
    ] * 2


def test_the_blink_rate_comes_after_ten_seconds():
    readings = run_gaze([OPEN, OPEN, OPEN, CLOSED] * 40)
    assert readings[0].blink_rate is None
    assert readings[-1].blink_rate == pytest.approx(120, abs=3)
