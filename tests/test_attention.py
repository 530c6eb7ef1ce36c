import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.attention import AttentionMeter, score_of
from affectstream.stream.faces.pose import Pose

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
    assert score_of(0) == 1.0
    assert score_of(15) == 1.0
    assert score_of(25) == pytest.approx(0.5)
    assert score_of(35) == 0.0
    assert score_of(90) == 0.0


@given(st.floats(0, 180))
def test_score_is_in_range(angle):
    assert 0.0 <= score_of(angle) <= 1.0


def test_between_the_thresholds_the_last_state_stays():
    states = [a.state for a in run(AttentionMeter(), [0, 25, 32, 25, 0])]
    assert states == ["attentive", "attentive", "away", "away", "attentive"]


def test_absent_after_a_second_without_a_face():
    states = [a.state for a in run(AttentionMeter(), [0, None, None, None, 0])]
    assert states == ["attentive", "attentive", "absent", "absent", "attentive"]


def test_never_seen_is_absent():
    verdict = AttentionMeter().push([], HOP)
    assert (verdict.state, verdict.score, verdict.yaw) == ("absent", None, None)


def test_a_baseline_takes_off_the_camera_above_the_screen():
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
