from affectstream.stream.results.smoothing import Smoother

HOP = 500_000


def test_the_smoother_waits_for_a_clear_lead():
    smoother = Smoother("xy", tau_us=1, margin=0.1)
    assert smoother.push((0.55, 0.45), HOP)[0] == "x"
    assert smoother.push((0.48, 0.52), HOP)[0] == "x"
    assert smoother.push((0.40, 0.60), HOP)[0] == "y"


def test_the_smoother_resets_without_scores():
    smoother = Smoother("xy")
    smoother.push((1.0, 0.0), HOP)
    assert smoother.push(None, HOP) == (None, 0.0)
    assert smoother.push((0.1, 0.9), HOP) == ("y", 0.9)
