"""`report.html` as a file, and in a real Chromium: it works alone, offline, by mouse and keys."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from affectstream.bench.score.report import invented
from affectstream.stream.options import SourceOptions
from affectstream.stream.report import document
from affectstream.stream.report.document import report_page, write, write_embedded
from affectstream.stream.results.scored import ScoredRecording
from affectstream.stream.speaker_metadata import Speaker, Speakers
from tests.support.media import tone, write_sound, write_video

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SECONDS = 150.0


def for_browser(test: Any) -> Any:
    """Marks a test that needs a Chromium of the system."""
    here = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
    return pytest.mark.slow(here(test))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> ScoredRecording:
    folder = tmp_path_factory.mktemp("report page")
    clip = write_video(folder / "a talk & more.mp4", round(2 * SECONDS), rate=2)
    return invented(SECONDS, 2, clip)


def data_of(page: str) -> dict[str, Any]:
    text = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)
    assert text is not None
    found: dict[str, Any] = json.loads(text[1])
    return found


def test_the_page_holds_no_address(recording: ScoredRecording, tmp_path: Path) -> None:
    for write_one in (write, write_embedded):
        write_one(recording, tmp_path / "report.html")
        text = (tmp_path / "report.html").read_text("utf-8")
        assert not re.search(r"https?:|//[a-z]+\.[a-z]|url\(|@import|<link| src=", text)
        assert "{{" not in text


def test_two_reports_are_the_same_bytes(recording: ScoredRecording, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.html" for number in range(2)]
    for path in paths:
        write(recording, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_what_people_say_cannot_leave_the_data(recording: ScoredRecording) -> None:
    said = "</script><script>alert(1)</script><!-- {{script}} \u2028"
    words = [replace(recording.words[0], text=said, speaker="<b>")]
    page = report_page(replace(recording, words=tuple(words)))
    assert page.count("</script>") == 2
    assert data_of(page)["words"][0][3] == said


def test_only_the_scripts_and_styles_of_the_page_may_run(recording: ScoredRecording) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', report_page(recording))
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]


def test_a_recording_that_is_gone_has_a_report(recording: ScoredRecording, tmp_path: Path) -> None:
    gone = replace(recording, path=tmp_path / "gone.mp4")
    write(gone, tmp_path / "report.html")
    assert data_of((tmp_path / "report.html").read_text("utf-8"))["media"] is None


def test_a_recording_that_is_too_large_is_refused(
    recording: ScoredRecording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "MOST_EMBEDDED", 1000)
    with pytest.raises(OSError, match="use --format report"):
        write_embedded(recording, tmp_path / "report.html")


def test_the_recording_is_found_from_the_folder_of_the_report(
    recording: ScoredRecording,
) -> None:
    folder = recording.path.parent / "results"
    folder.mkdir(exist_ok=True)
    write(recording, folder / "report.html")
    media = data_of((folder / "report.html").read_text("utf-8"))["media"]
    assert media["source"] == "../a%20talk%20%26%20more.mp4"
    assert media["kind"] == "video"


def test_the_command_that_explains_has_the_options_of_the_run(recording: ScoredRecording) -> None:
    options = {"start_s": 1.5, "channels": [1, 2], "names": {"Ann": 2}, "purpose": "a study"}
    bundle = {**recording.bundle, "name": "mine"}
    run = {**recording.run, "options": options, "bundle": bundle}
    found = data_of(report_page(replace(recording, run=run)))["explain"]
    assert found == [
        *("--bundle", "mine", "--start", "1.5", "--purpose", "a study"),
        *("--speaker", "Ann=2", "--channel", "left=1,right=2"),
    ]


def test_it_has_the_voices_and_the_metadata_of_the_run(recording: ScoredRecording) -> None:
    speakers = Speakers(recording=Speaker(age=34))
    for given, name in (("people.json", "people.json"), (None, "SPEAKERS.json")):
        options = SourceOptions(
            end_us=9_000_000,
            voices=2,
            metadata=speakers,
            metadata_file=given,
            max_pixels=90_000_000,
        )
        run = {**recording.run, "options": options.described()}
        found = data_of(report_page(replace(recording, run=run)))["explain"]
        assert found == [
            *("--end", "9.0", "--voices", "2", "--max-pixels", "90000000"),
            *("--metadata", name),
        ]


# --- In a browser ---


@contextmanager
def opened(path: Path, address: str = "", **options: Any) -> Iterator[Any]:
    """The page of a report; its errors and its requests of anything but files are failures."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright's driver is not here")
    faults: list[str] = []
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith(("file:", "data:")) else faults.append(asked.url)
            ),
        )
        page.goto(path.absolute().as_uri() + address)
        page.wait_for_timeout(200)
        try:
            yield page
        finally:
            browser.close()
    assert not faults


@pytest.fixture(scope="module")
def path(recording: ScoredRecording) -> Path:
    folder = recording.path.parent / "results"
    folder.mkdir(exist_ok=True)
    write(recording, folder / "report.html")
    return folder / "report.html"


def wait(page: Any, expression: str) -> None:
    """Wait until an expression is true. Playwright's own way would need the page to allow eval."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"waited for {expression}")


DRAWN = """[...document.querySelectorAll("canvas")].every((canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.some((value) => value);
})"""


@for_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_everything_is_drawn(path: Path, scheme: str, width: int) -> None:
    with opened(path, color_scheme=scheme, viewport={"width": width, "height": 844}) as page:
        assert page.title() == "a talk & more.mp4: report"
        wait(page, DRAWN)
        assert page.locator("#lanes .name-row").count() == 2
        assert page.locator("#lanes .uplot").count() == 3
        assert page.locator("#segments tbody tr").count() > 10
        assert page.locator("#pairs .pair").count() == 3
        wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert page.evaluate(wide)


@for_browser
def test_a_click_goes_there_in_the_recording_too(path: Path) -> None:
    with opened(path) as page:
        wait(page, "state.hasPlayer")
        box = page.locator("#lanes canvas").nth(2).bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 5)
        assert abs(page.evaluate("state.t") - SECONDS / 2) < 1
        wait(page, f"Math.abs(player.currentTime - {SECONDS / 2}) < 1 && !player.seeking")
        assert page.inner_text("#time").startswith("1:1")
        label = page.evaluate("readingAt(chosen(), placeOf(chosen(), state.t)).label")
        assert label is None or label == page.inner_text("#label strong").lower()


@for_browser
def test_the_recording_plays_and_the_playhead_follows(path: Path) -> None:
    with opened(path) as page:
        wait(page, "state.hasPlayer")
        page.click("#play")
        wait(page, "state.t > 0.4")
        assert page.inner_text("#play").endswith("Pause")
        page.keyboard.press("k")
        wait(page, "player.paused")


@for_browser
def test_dragging_and_keys_zoom_and_move(path: Path) -> None:
    with opened(path) as page:
        canvas = page.locator("#lanes canvas").nth(2)
        box = canvas.bounding_box()
        y = box["y"] + 5
        page.mouse.move(box["x"] + box["width"] * 0.2, y)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.4, y, steps=4)
        page.mouse.up()
        view = page.evaluate("[state.from, state.to]")
        assert view == pytest.approx([0.2 * SECONDS, 0.4 * SECONDS], abs=1)
        page.keyboard.press("0")
        assert page.evaluate("[state.from, state.to]") == [0, SECONDS]
        page.keyboard.press("+")
        assert page.evaluate("state.to - state.from") == SECONDS / 2
        page.keyboard.press("ArrowRight")
        assert page.evaluate("state.t") == 0.5
        before = page.evaluate("state.t")
        page.keyboard.press("n")
        assert page.evaluate("state.t") > before
        page.keyboard.press("2")
        assert page.evaluate("chosen().track") == 2
        page.focus("#lanes")
        page.keyboard.press("End")
        spoken = page.get_attribute("#lanes", "aria-valuetext")
        assert spoken.startswith("2:30.0, Person 2")


@for_browser
def test_an_address_opens_a_person_at_a_time(path: Path) -> None:
    with opened(path, "#t=61.5&person=2") as page:
        assert page.evaluate("state.t") == 61.5
        assert page.evaluate("chosen().track") == 2


@for_browser
def test_the_command_that_explains_the_playhead_can_be_copied(path: Path) -> None:
    with opened(path, "#t=61.7&person=2") as page:
        page.click("#explain")
        assert page.inner_text("#command") == (
            "affectstream explain 'a talk & more.mp4' --at 1:01.50 --track 2 "
            "--speaker A=1 --speaker B=2 --output why"
        )


@for_browser
def test_an_embedded_recording_plays_without_its_file(
    recording: ScoredRecording, tmp_path: Path
) -> None:
    write_embedded(recording, tmp_path / "report.html")
    with opened(tmp_path / "report.html") as page:
        wait(page, "state.hasPlayer && player.duration > 100")


@for_browser
def test_without_the_recording_the_timeline_works(
    recording: ScoredRecording, tmp_path: Path
) -> None:
    write(replace(recording, path=tmp_path / "gone.mp4"), tmp_path / "report.html")
    with opened(tmp_path / "report.html") as page:
        assert "not beside this report" in page.inner_text("#empty")
        page.keyboard.press("ArrowRight")
        assert page.inner_text("#time") == "0:00.5"


@for_browser
def test_it_prints_light_and_whole(path: Path, tmp_path: Path) -> None:
    with opened(path, color_scheme="dark") as page:
        page.keyboard.press("+")
        page.emulate_media(media="print")
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate("[state.from, state.to]") == [0, SECONDS]
        assert page.evaluate("cssVariable('--card')") == "#fff"
        assert not page.is_visible("#stage")
        page.set_viewport_size({"width": 720, "height": 900})  # an A4 page
        wait(page, "segmentRows.length === document.querySelectorAll('#segments tbody tr').length")
        within = "(id) => document.querySelector(`#${id} table`).offsetHeight <= $(id).offsetHeight"
        assert page.evaluate(within, "segments")
        wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert page.evaluate(wide)
        page.pdf(path=str(tmp_path / "report.pdf"))


@for_browser
def test_a_second_and_an_empty_recording_can_be_shown(tmp_path: Path) -> None:
    for name, one in {
        "second": invented(1.0, 1, tmp_path / "second.mp4"),
        "nobody": invented(20.0, 0, tmp_path / "nobody.mp4"),
    }.items():
        write(one, tmp_path / f"{name}.html")
        with opened(tmp_path / f"{name}.html") as page:
            assert page.inner_text("#title") == f"{name}.mp4"
            page.keyboard.press("+")


@for_browser
@pytest.mark.parametrize("used", [("voice",), ("video", "voice")])
def test_sound_alone_in_a_file_of_pictures_has_no_empty_picture(
    tmp_path: Path, used: tuple[str, ...]
) -> None:
    clip = write_sound(tmp_path / "sound.mkv", tone(3.0, 48_000), 48_000, "libopus")
    found = invented(3.0, 1, clip)
    events = tuple(structs.replace(event, modalities=used) for event in found.events)
    write(replace(found, events=events), tmp_path / "report.html")
    with opened(tmp_path / "report.html") as page:
        wait(page, "state.hasPlayer")
        assert page.is_visible("#frame") == ("video" in used)
        if "video" in used:  # pictures that the browser cannot decode
            assert "cannot show the pictures of sound.mkv" in page.inner_text("#empty")
