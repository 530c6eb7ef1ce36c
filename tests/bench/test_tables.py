"""Tables of the docs are made from the results."""

import json
import re
from pathlib import Path

import pytest

from affectstream.bench.tables import TABLES, main, write_tables
from affectstream.engines.errors import UsageError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARK = re.compile(r"^<!-- bench: (\w+) -->$", re.M)
MARKED = [page for page in PAGES if MARK.search(page.read_text())]


@pytest.mark.parametrize("page", MARKED, ids=lambda page: page.stem)
def test_the_tables_are_those_of_the_results(page):
    text = page.read_text()
    written = write_tables(text, ROOT / "bench" / "results")
    assert written == text, "run: affectstream bench tables README.md docs/guides/*.md"


def test_every_table_is_used():
    assert {name for page in MARKED for name in MARK.findall(page.read_text())} == set(TABLES)


def test_only_what_is_marked_is_written(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench: speed -->\nold\n<!-- end -->\nafter\n")
    score = {"realtime": 31.4, "cpu_ratio": 1.234, "wall_ratio": 0.5}
    (tmp_path / "score_mine.json").write_text(json.dumps(score))
    memory = {"media_s": 1800.0, "growth_mb": 7.6, "peak_mb": 300.0, "bundle": "pocket 9"}
    (tmp_path / "memory_mine.json").write_text(json.dumps(memory))
    main([page], tmp_path, "mine")
    assert "page.md" in capsys.readouterr().out
    text = page.read_text()
    assert text.startswith("before\n<!-- bench: speed -->\n") and text.endswith("-->\nafter\n")
    assert "| 31 | 10 |" in text and "| 1.23 |" in text and "over 30 minutes, in MB | 8 |" in text
    assert "old" not in text and "`pocket 9`" in text
    main([page], tmp_path, "mine")
    assert not capsys.readouterr().out, "nothing has changed"


def test_a_cost_that_lacks_a_measurement_keeps_its_columns(tmp_path):
    row = {"label": "1", "x": 1.0, "cost": 0.5, "stable": True}
    rows = [row | {"delay p95 ms": 40.0, "lowered": 0.0}, row | {"label": "8", "lowered": 3.0}]
    growth = {"name": "sessions", "x": "sessions", "y": "cores", "each": "session", "rows": rows}
    result = {"bundle": "pocket", "source": "demo", "rounds": 1, "load_before": 0.1}
    result["growth"] = [growth | {"exponent": None, "line": None}]
    (tmp_path / "cost_mine.json").write_text(json.dumps(result))
    text = write_tables("<!-- bench: cost -->\n<!-- end -->", tmp_path, "mine")
    assert "| delay p95 ms | lowered |" in text
    assert "| 1 | 1 | 0.5 | 40 | 0 |" in text and "| 8 | 1 | 0.5 | | 3 |" in text


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"no table 'nothing'.*speed"):
        write_tables("<!-- bench: nothing -->\n<!-- end -->")
    page = "<!-- bench: speed -->\n<!-- end -->"
    assert "bench score` has not been run on" in write_tables(page, tmp_path)
    page_of_two = page.replace("speed", "sessions_two_processes")
    assert "bench sessions` has not been run for two processes" in write_tables(
        page_of_two, tmp_path
    )
    (tmp_path / "score_epyc_2core.json").write_text("{")
    with pytest.raises(UsageError, match=r"score_epyc_2core\.json"):
        write_tables(page, tmp_path)
