"""How the command line ends: Ctrl-C at any moment, a reader that goes away, a disk that is full."""

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.support.media import numbered, write_video

FULL = Path("/dev/full")
MAIN = "from affectstream.stream.cli import main; main()"


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_video(
        tmp_path_factory.mktemp("cli") / "film.mp4", [numbered(i) for i in range(50)]
    )


def start(*arguments, python=(), **options):
    command = [sys.executable, *python, "-c", MAIN, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


# --- Ctrl-C while a command starts ---


def interrupt(arguments, module, after_s=0.0):
    """Send Ctrl-C `after_s` after Python reports `module` as imported; (exit code, messages)."""
    process = start(*arguments, python=["-X", "importtime"], stdout=subprocess.DEVNULL)
    messages = []
    for line in process.stderr:
        if not line.startswith("import time:"):
            messages.append(line.strip())
        elif line.rpartition("|")[2].strip() == module:
            time.sleep(after_s)
            process.send_signal(signal.SIGINT)
            break
    else:
        pytest.fail(f"{module} is not imported any more by {arguments}: {messages}")
    rest = process.communicate(timeout=60)[1].splitlines()
    messages += [line for line in rest if not line.startswith("import time:")]
    return process.returncode, messages


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("score", "affectstream.stream.exits"),
        ("score", "typer"),
        ("score", "rich.console"),
        ("score", "numpy._core.multiarray"),
        ("score", "av._core"),
        ("score", "onnxruntime"),
        ("score", "pyarrow.lib"),
        ("schema", "msgspec"),
        ("doctor", "onnxruntime.capi._pybind_state"),
        ("demo", "cv2"),
        ("--help", "typer.main"),
    ],
)
def test_ctrl_c_during_imports_leaves_no_traceback(film, command, module):
    arguments = [command, film] if command == "score" else [command]
    code, messages = interrupt(arguments, module)
    assert code == 130, messages
    assert messages in ([], ["error: interrupted"])


@pytest.mark.parametrize("after_s", [0.1, 0.2, 0.3, 0.5])
@pytest.mark.parametrize("command", ["score", "doctor", "demo"])
def test_ctrl_c_soon_after_the_start(film, command, after_s):
    """Whatever it is doing by then. It may have ended, or be ending: then the signal is the
    system's again, which a shell shows as 130 as well."""
    arguments = [command, film] if command == "score" else [command]
    code, messages = interrupt(arguments, "affectstream.stream.exits", after_s)
    assert code in (130, 0, -signal.SIGINT), messages
    assert not [m for m in messages if "Traceback" in m or "ignored" in m]


# --- standard output that fails ---


COMMANDS = [["schema"], ["doctor"], ["--help"], ["score", "--help"], ["score", "FILM"]]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_closed_reader_ends_it_without_an_error(film, arguments):
    arguments = [str(film) if a == "FILM" else a for a in arguments]
    process = start(*arguments, stdout=subprocess.PIPE)
    assert process.stdout.readline()
    process.stdout.close()
    messages = process.communicate(timeout=60)[1]
    assert process.returncode == 0
    assert messages == ""


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_pipe_without_a_reader_ends_it_without_an_error(film, arguments):
    arguments = [str(film) if a == "FILM" else a for a in arguments]
    reading, writing = os.pipe()
    os.close(reading)
    process = start(*arguments, stdout=writing)
    os.close(writing)
    messages = process.communicate(timeout=60)[1]
    assert process.returncode == 0
    assert messages == ""


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_full_disk_is_reported_in_one_line_with_exit_code_4(film, arguments):
    arguments = [str(film) if a == "FILM" else a for a in arguments]
    with FULL.open("w") as full:
        process = start(*arguments, stdout=full)
        messages = process.communicate(timeout=60)[1]
    assert process.returncode == 4
    assert messages == "error: cannot write to standard output: No space left on device\n"


def test_closed_standard_output_is_reported():
    process = start("schema", preexec_fn=lambda: os.close(1))
    messages = process.communicate(timeout=60)[1]
    assert process.returncode == 4
    assert messages.startswith("error: standard output is closed")
    assert messages.count("\n") == 1


def test_every_command_is_guarded():
    """Commands are loaded by `main` alone; no other script is installed that could go round it."""
    scripts = [p for p in entry_points(group="console_scripts") if p.name == "affectstream"]
    assert [p.value for p in scripts] == ["affectstream.stream.cli:main"]
