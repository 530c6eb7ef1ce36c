"""Charts and tables are well-formed, escape what they show, and put things where they belong."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from affectstream.train.pages import charts
from affectstream.train.pages.charts import Bar
from affectstream.train.pages.elements import Html, card, few_people, items, page, table

NAN = float("nan")


def parsed(html):
    return ET.fromstring(html.text)


def test_every_chart_is_well_formed_and_escapes_names():
    made = [
        charts.confusion("a < b", ["x & y", "z"], np.array([[3, 1], [0, 0]])),
        charts.interval_bars(
            "m", [Bar("<", 0.5, 0.4, 0.6, "n 3"), Bar("b", 0.5, NAN, NAN)], zero=True
        ),
        charts.interval_bars("nothing", []),
        charts.curves("c", [("one", [(0, 1), (2, 3)]), ("two", [(1, 1)])], across="x", up="y"),
        charts.curves("r", [("", [(0.5, 0.4)])], across="x", up="y", square=True, notes=["7"]),
        charts.ranks("ranks", [("a", 1.2), ("b", 1.9), ("c", 2.9)], 1.0),
        charts.ranks("over samples", [("a", 1.5), ("b", 1.5)], 0.0),
        charts.shares("s", [("ablation", [("voice", 60.0), ("text", 40.0)])]),
        charts.scatter("s", [("a", 1.0, 0.5), ("b", 1.0, 0.5)], across="ms", up="accuracy"),
    ]
    for one in made:
        svg = parsed(one).find("svg")
        numbers = [value for part in svg.iter() for value in part.attrib.values()]
        assert not any("nan" in value or "inf" in value for value in numbers)
        assert "style" not in {name for part in svg.iter() for name in part.attrib}


def test_a_bar_lies_between_its_ends():
    figure = parsed(charts.interval_bars("m", [Bar("a", 0.5, 0.4, 0.7), Bar("b", 0.2, 0.1, 0.3)]))
    lines = list(figure.iter("line"))
    points = [float(part.get("cx")) for part in figure.iter("circle")]
    for line, point in zip(lines, points, strict=True):
        assert float(line.get("x1")) < point < float(line.get("x2"))
    assert points[0] > points[1]


def test_bars_of_several_charts_compare_on_one_axis():
    made = [
        charts.interval_bars(
            "m", [Bar(name, 0.5, 0.4, end)], axis=(0.0, 1.0), reference=0.5, letters=9
        )
        for name, end in (("a", 0.6), ("a longer", 0.9))
    ]
    points = [next(parsed(one).iter("circle")).get("cx") for one in made]
    assert points[0] == points[1]
    for one in made:
        (dashed,) = (part for part in parsed(one).iter("line") if part.get("class") == "faint")
        assert dashed.get("x1") == points[0]


def test_near_ranks_are_joined():
    figure = parsed(charts.ranks("r", [("a", 1.1), ("b", 1.9), ("c", 3.0)], 1.0))
    joined = [part for part in figure.iter("line") if part.get("class") == "series1"]
    assert len(joined) == 1  # a and b, not c


def test_a_page_escapes_and_fetches_nothing():
    made = page(
        "test",
        "<name>",
        "about & more",
        [("badge", True)],
        [card("A", table(("h",), [("<b>",), (Html("<i>x</i>"),)], mark=[0]), items(["1 < 2"]))],
        "the end",
    )
    assert (
        "&lt;name&gt;" in made and "&lt;b&gt;" in made and "<i>x</i>" in made and "1 &lt; 2" in made
    )
    assert "script-src 'sha256-" in made and "<script" not in made and "http:" not in made
    assert "{{" not in made


@pytest.mark.parametrize("name", ["--card", "--accent", "--second", "--speaks", "--attention"])
def test_the_colors_are_those_of_the_report(name):
    assert f"{name}: " in page("t", "t", "t", [], [], "t")


def test_few_people_are_warned_of():
    assert few_people(["a", "b", "a"]) == [("only 2 people: intervals are rough", True)]
    assert (
        few_people(["a", None]) == few_people([None, None]) == few_people(list("abcdefghij")) == []
    )
