"""What other people's code may rely on. Directions of imports are held by `lint-imports`."""

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, requires
from pathlib import Path

import affectstream.engines
import affectstream.stream

ROOT = Path(__file__).parents[1]


def test_public_names_of_stream():
    assert affectstream.stream.__all__ == [
        "Recognizer",
        "Session",
        "PushStream",
        "Result",
        "SourceOptions",
        "Assignment",
        "Event",
        "Emotion",
        "Attention",
        "Segment",
        "Stream",
        "parse_event",
        "json_schema",
        "AffectstreamError",
        "SourceError",
        "OutputError",
        "OptionError",
    ]
    for name in affectstream.stream.__all__:
        assert getattr(affectstream.stream, name) is not None


def test_public_names_of_engines():
    assert affectstream.engines.__all__ == [
        "Bundle",
        "Manifest",
        "Engine",
        "TensorSpec",
        "OnnxEngine",
        "AffectstreamError",
        "BundleError",
        "EngineError",
        "DeviceError",
    ]
    for name in affectstream.engines.__all__:
        assert getattr(affectstream.engines, name) is not None


def test_the_core_needs_no_torch_scipy_or_pandas():
    core = [r for r in requires("affectstream") or [] if "extra ==" not in r]
    assert core
    assert not [
        r for r in core if r.startswith(("torch", "scipy", "pandas", "scikit", "lightning"))
    ]


def test_commands():
    names = {point.name for point in entry_points(group="affectstream.commands")}
    assert names >= {"score", "demo", "schema", "doctor", "train", "bench"}


def test_every_folder_is_installed():
    """`packages` in pyproject.toml is a list, since setuptools cannot find packages under another name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    folders = {
        ".".join(("affectstream", *path.parent.relative_to(ROOT).parts))
        for top in ("stream", "engines", "train", "bench")
        for path in (ROOT / top).rglob("*.py")
    }
    assert listed == folders


def test_help_loads_no_runtime():
    code = (
        "import sys\n"
        "from affectstream.stream.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as e:\n    assert not e.code, e.code\n"
        "heavy = {'torch', 'onnxruntime', 'cv2', 'av', 'pyarrow', 'numpy', 'tokenizers', 'msgspec'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for command in ("score", "demo", "schema", "doctor", "train", "bench"):
        assert command in done.stdout
