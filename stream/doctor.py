"""What this machine can do, found out by looking, not by guessing."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version
from importlib.util import find_spec
from pathlib import Path

import av
import onnxruntime

from affectstream.engines.bundle import POCKET, Bundle
from affectstream.engines.choose import choose
from affectstream.engines.errors import AffectstreamError

_PACKAGES = (
    "affectstream",
    "av",
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "pyarrow",
    "tokenizers",
)
_FORMATS = ("mp4", "mov", "matroska", "webm", "avi", "mpegts", "wav", "flac", "mp3")
_CODECS = ("h264", "hevc", "vp9", "av1", "aac", "mp3", "opus", "flac", "subrip", "webvtt")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `ok` False is something to mend."""

    topic: str
    text: str
    ok: bool = True


def examine(bundle: str | Path = "pocket") -> Iterator[Finding]:
    """Every finding, in the order in which it is printed."""
    yield Finding("system", f"Python {platform.python_version()} on {platform.platform()}")
    yield from _packages()
    yield from _ffmpeg()
    yield from _devices()
    yield from _runtimes()
    yield from _bundle(bundle)


def _packages() -> Iterator[Finding]:
    for name in _PACKAGES:
        try:
            yield Finding("package", f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding("package", f"{name} is not installed: pip install {name}", ok=False)
    builds = sorted(
        {str(d.name) for d in distributions() if d.name and d.name.lower().startswith("opencv-")}
    )
    if len(builds) > 1:
        yield Finding(
            "package",
            f"{' and '.join(builds)} overwrite each other's cv2: keep opencv-python-headless only",
            ok=False,
        )


def _ffmpeg() -> Iterator[Finding]:
    libraries = ", ".join(
        f"{n} {'.'.join(map(str, v))}" for n, v in sorted(av.library_versions.items())
    )
    yield Finding("ffmpeg", libraries)
    readers = {name for known in av.formats_available for name in known.split(",")}
    yield _present("containers", _FORMATS, readers)
    yield _present("codecs", _CODECS, set(av.codecs_available) | {"av1"} & _av1())


def _av1() -> set[str]:
    return {"av1"} if {"libdav1d", "libaom-av1", "av1"} & set(av.codecs_available) else set()


def _present(what: str, wanted: tuple[str, ...], have: set[str]) -> Finding:
    missing = [name for name in wanted if name not in have]
    text = f"{what}: {', '.join(name for name in wanted if name in have)}"
    if missing:
        text += f"; missing: {', '.join(missing)}"
    return Finding("ffmpeg", text, ok=not missing)


def _devices() -> Iterator[Finding]:
    cameras = sorted(str(path) for path in Path("/dev").glob("video*"))
    yield Finding("devices", f"cameras: {', '.join(cameras) or 'none seen'}")
    sound = Path("/proc/asound/cards")
    cards = sound.read_text().strip().splitlines() if sound.exists() else []
    named = [line.strip() for line in cards if "[" in line]
    yield Finding("devices", f"sound cards: {'; '.join(named) or 'none seen'}")


def _runtimes() -> Iterator[Finding]:
    providers = ", ".join(onnxruntime.get_available_providers())
    yield Finding("runtime", f"onnxruntime {onnxruntime.__version__}: {providers}")
    driver = shutil.which("nvidia-smi")
    yield Finding("runtime", f"NVIDIA driver: {driver or 'none seen'}")
    built = "installed, not used by this version" if find_spec("tensorrt") else "not installed"
    yield Finding("runtime", f"tensorrt: {built}")
    choice = choose("auto")
    yield Finding("runtime", f"--device auto chooses {choice.device} ({choice.reason})")


def _bundle(bundle: str | Path) -> Iterator[Finding]:
    try:
        with Bundle.open(bundle) as opened:
            manifest = opened.manifest
            roles = ", ".join(opened.engines)
            yield Finding("bundle", f"{manifest.name} {manifest.version} in {opened.folder}")
            yield Finding("bundle", f"every hash, name and shape agrees; engines: {roles}")
            yield Finding("bundle", f"labels: {', '.join(manifest.labels)}")
            for result in manifest.results:
                figure = f"{result.metric} {result.value} (n = {result.count})"
                yield Finding("measured", f"{result.part} on {result.data}: {figure}")
            licences = manifest.licences
            yield Finding("licence", f"code: {licences.code}")
            yield Finding("licence", f"weights: {licences.weights}")
            yield Finding("licence", f"trained on: {licences.data}")
            if opened.folder == POCKET:
                yield Finding("licence", f"full text: {POCKET / 'LICENSE'}")
    except AffectstreamError as error:
        yield Finding("bundle", str(error), ok=False)
