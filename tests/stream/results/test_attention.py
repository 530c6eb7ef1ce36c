import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.faces.pose import Pose
from affectstream.stream.results.attention import AttentionMeter, angle_score

HOP = 500_000


def looking(yaw, pitch=0.0):
    return Pose(yaw, pitch, 0.0, np.eye(3))


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
    states = [a.state for a in run(AttentionMeter(), [0, 25, 32, 25, 0])]
    assert states == ["attentive", "attentive", "away", "away", "attentive"]


def test_absent_after_a_second_without_a_face():
    states = [a.state for a in run(AttentionMeter(), [0, None, None, None, 0])]
    assert states == ["attentive", "attentive", "absent", "absent", "attentive"]


def test_a_track_without_any_face_is_absent():
    verdict = AttentionMeter().push([], HOP)
    assert (verdict.state, verdict.score, verdict.yaw) == ("absent", None, None)


def test_a_baseline_corrects_for_a_camera_above_the_screen():
    plain, learned = AttentionMeter(), AttentionMeter(baseline_us=2_000_000)
    yaws = [30.0] * 6
    assert run(plain, yaws)[-1].state == "away"
    last = run(learned, yaws)[-1]
    assert last.state == "attentive"
    assert last.yaw == 30.0  # the angles stay as measured


def test_the_baseline_is_learned_from_its_seconds_only():
    meter = AttentionMeter(baseline_us=1_000_000)
    run(meter, [0.0, 0.0])
    assert run(meter, [40.0] * 20, start=2)[-1].state == "away"


def states_of(meter, scores):
    """The states of one hop for each score of a head (None: the head had no input)."""
    return [meter.push_score(s, [], (n + 1) * HOP).state for n, s in enumerate(scores)]


def test_scores_of_a_head_lead_to_the_same_states():
    assert states_of(AttentionMeter(), [0.9, 0.5, 0.3, 0.5, 0.7]) == [
        "attentive",
        "attentive",
        "away",
        "away",
        "attentive",
    ]
    assert states_of(AttentionMeter(), [0.45]) == ["away"]
    assert states_of(AttentionMeter(), [0.55]) == ["attentive"]


def test_the_last_score_of_a_head_stays_for_a_second():
    assert states_of(AttentionMeter(), [None, 0.9, None, None, None]) == [
        "absent",
        "attentive",
        "attentive",
        "attentive",
        "absent",
    ]


def test_each_state_has_a_score_of_its_own():
    there, aside = run(AttentionMeter(), [20, 33])
    gone = AttentionMeter().push([], HOP)
    assert [one.state for one in (there, aside, gone)] == ["attentive", "away", "absent"]
    assert there.score == there.state_score == pytest.approx(0.75)
    assert (aside.score, aside.state_score) == (pytest.approx(0.1), pytest.approx(0.9))
    assert (gone.score, gone.state_score) == (None, 1.0)


def test_a_reading_names_its_method():
    meter = AttentionMeter()
    there = meter.push_score(0.9, [(0, looking(12.0))], HOP)
    assert (there.method, there.score, there.yaw) == ("model", 0.9, 12.0)
    assert meter.push_score(0.8, [], 2 * HOP).yaw is None
    assert AttentionMeter().push([(0, looking(0.0))], HOP).method == "head_pose"
