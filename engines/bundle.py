"""Opening a bundle: every hash, name and shape is checked, and a fault is named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from affectstream.engines.digest import sha256
from affectstream.engines.errors import BundleError, EngineError
from affectstream.engines.half import FP32_ROLES
from affectstream.engines.labels import EMOTIONS
from affectstream.engines.manifest import FORMAT, FilePart, Manifest
from affectstream.engines.models.registry import file_of
from affectstream.engines.open import build_options, open_engine
from affectstream.engines.spec import Engine, TensorSpec

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MANIFEST = "bundle.json"
POCKET = Path(__file__).parent / "pocket"
MODALITIES = ("video", "voice", "text")
"""In the order in which they are named everywhere."""


def locate(bundle: str | Path) -> Path:
    """The folder of `bundle`: ``pocket``, or a path to a folder with a `bundle.json`."""
    folder = POCKET if str(bundle) == "pocket" else Path(bundle)
    if not folder.is_dir():
        raise BundleError(
            f"bundle {str(bundle)!r} not found: expected 'pocket' or a bundle's folder"
        )
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"{folder} has no {MANIFEST}: it is not a bundle")
    return folder


def read_manifest(folder: Path) -> Manifest:
    """Parse and check `bundle.json`, the hash of each file that it names included."""
    path = folder / MANIFEST
    try:
        raw = path.read_bytes()
        version = str(msgspec.json.decode(raw)["format"])
    except (OSError, msgspec.DecodeError, TypeError, KeyError) as error:
        raise BundleError(f"{path} is not a bundle manifest: {error}") from error
    if re.fullmatch(r"\d+\.\d+", version) is None:
        raise BundleError(f"{path} has format {version!r}, expected numbers such as {FORMAT}")
    if int(version.partition(".")[0]) > int(FORMAT.partition(".")[0]):
        raise BundleError(
            f"{path} has format {version}, this version reads up to {FORMAT}: upgrade affectstream"
        )
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.ValidationError as error:
        raise BundleError(f"{path}: {error}") from error
    _check_numbers(path, manifest)
    for part in parts(manifest):
        _check_file(folder, part)
    return manifest


def parts(manifest: Manifest) -> Iterator[FilePart]:
    """Every file that the manifest names."""
    engines = manifest.engines
    for part in (
        engines.fusion,
        engines.face_detector,
        engines.face_encoder,
        engines.voice_encoder,
        engines.text_encoder,
    ):
        if part is not None:
            yield part
    if engines.text_encoder is not None:
        yield engines.text_encoder.tokenizer


def _check_numbers(path: Path, manifest: Manifest) -> None:
    def refuse(what: str) -> None:
        raise BundleError(f"{path}: {what}")

    if len(set(manifest.labels)) != len(manifest.labels) or not manifest.labels:
        refuse(f"labels {list(manifest.labels)} are empty or name one twice")
    if unknown := set(manifest.labels) - set(EMOTIONS):
        refuse(f"labels {sorted(unknown)} are not in the vocabulary {list(EMOTIONS)}")
    if len(manifest.calibration.prior) != len(manifest.labels):
        refuse(
            f"{len(manifest.calibration.prior)} prior probabilities for {len(manifest.labels)} labels"
        )
    if manifest.hop_us * manifest.frame_hz % 1_000_000:
        refuse(
            f"hop_us x frame_hz must be whole frames, found {manifest.hop_us} x {manifest.frame_hz}"
        )
    if manifest.window_us % manifest.hop_us:
        refuse(f"window_us {manifest.window_us} is not a whole number of hops of {manifest.hop_us}")
    faces = (manifest.engines.face_detector, manifest.engines.face_encoder, manifest.crop)
    if any(part is None for part in faces) and any(part is not None for part in faces):
        refuse("face_detector, face_encoder and crop belong together: give all three or none")
    if manifest.crop is not None and len(manifest.crop.template) != 5:
        refuse(f"the crop template has {len(manifest.crop.template)} points, expected 5")


def _check_file(folder: Path, part: FilePart) -> None:
    path = file_of(folder, part)
    public = part.model is not msgspec.UNSET
    if not path.is_file():
        if public:
            raise BundleError(
                f"{folder} takes the public model {part.model}, which is not here: "
                f"affectstream engines pull {part.model}"
            )
        raise BundleError(
            f"{path} is missing: the manifest names it; restore or reinstall the bundle"
        )
    found = sha256(path)
    if found != part.sha256:
        mend = (
            f"fetch it again: affectstream engines pull {part.model}"
            if public
            else "restore or reinstall the bundle"
        )
        raise BundleError(
            f"{path} was changed: SHA-256 is {found[:12]}..., the manifest says "
            f"{part.sha256[:12]}...; {mend}"
        )


@dataclass(frozen=True, slots=True)
class Bundle:
    """An open bundle: its manifest, folder, engines by role and tokenizer. Closes them on exit."""

    folder: Path
    manifest: Manifest
    engines: dict[str, Engine]
    tokenizer: Tokenizer | None
    """Of the text encoder; None where there is none."""
    _stack: ExitStack

    @classmethod
    def open(
        cls, bundle: str | Path = "pocket", *, device: str = "cpu", threads: int = 1
    ) -> Bundle:
        """Check and open `bundle` on `device`, as `choose` names it.

        Raises `BundleError`, `EngineError` or `DeviceError`, naming the fault.
        """
        folder = locate(bundle)
        manifest = read_manifest(folder)
        tokenizer = _tokenizer(folder, manifest)
        options = build_options(folder, manifest, device)
        engines: dict[str, Engine] = {}
        with ExitStack() as stack:
            for role in manifest.engines.__struct_fields__:
                part = getattr(manifest.engines, role)
                if part is not None:
                    try:
                        opened = open_engine(
                            file_of(folder, part),
                            device,
                            threads=threads,
                            half=role not in FP32_ROLES,
                            options=options.get(role),
                        )
                    except EngineError as error:
                        raise type(error)(f"bundle {manifest.name}, {role}: {error}") from error
                    engines[role] = stack.enter_context(opened)
            _check_graphs(folder, manifest, engines)
            return cls(folder, manifest, engines, tokenizer, stack.pop_all())

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the head takes, of `MODALITIES`."""
        return tuple(m for m in MODALITIES if m in self.engines["fusion"].inputs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()


def _tokenizer(folder: Path, manifest: Manifest) -> Tokenizer | None:
    part = manifest.engines.text_encoder
    if part is None:
        return None
    from tokenizers import Tokenizer

    path = file_of(folder, part.tokenizer)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more precise
        raise BundleError(f"{path} is not a tokenizer: {error}") from error


ENCODERS = {"video": "face_encoder", "voice": "voice_encoder", "text": "text_encoder"}
"""The role that feeds each modality of the head."""


def _check_graphs(folder: Path, manifest: Manifest, engines: dict[str, Engine]) -> None:
    """Every shape that two parts must agree on."""
    head = engines["fusion"]
    labels = len(manifest.labels)

    def demand(role: str, specs: object, name: str, shape: tuple[int | str, ...]) -> None:
        spec = specs.get(name) if isinstance(specs, dict) else None
        if not isinstance(spec, TensorSpec) or not _matches(spec.shape, shape):
            found = spec.describe() if isinstance(spec, TensorSpec) else "nothing of that name"
            raise BundleError(
                f"{folder}: {role} needs {name} ({', '.join(map(str, shape))}), found {found}"
            )

    demand("fusion", head.outputs, "logits", ("N", labels))
    for modality, role in ENCODERS.items():
        if modality not in head.inputs:
            continue
        if role not in engines:
            raise BundleError(f"{folder}: fusion takes {modality!r} but the bundle has no {role}")
        width = (
            engines[role].outputs["embedding"].shape[-1]
            if "embedding" in engines[role].outputs
            else 0
        )
        steps = manifest.frames_per_window if modality == "video" else 1
        demand(role, engines[role].outputs, "embedding", ("N", width))
        demand("fusion", head.inputs, modality, ("N", steps, width))
        demand("fusion", head.inputs, f"{modality}_mask", ("N", steps))
    detector = engines.get("face_detector")
    if detector is not None:
        _check_detector(folder, detector)
    if manifest.crop is not None:
        side = manifest.crop.size
        demand("face_encoder", engines["face_encoder"].inputs, "pixels", ("N", side, side, 3))
    if "voice_encoder" in engines:
        samples = manifest.samples_per_window
        demand("voice_encoder", engines["voice_encoder"].inputs, "samples", ("N", samples))
    text = manifest.engines.text_encoder
    if text is not None:
        for name in ("ids", "mask"):
            demand("text_encoder", engines["text_encoder"].inputs, name, ("N", text.max_tokens))


YUNET = tuple(
    f"{name}_{stride}" for name in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)
)
"""Outputs that every face detector has."""


def _check_detector(folder: Path, detector: Engine) -> None:
    pictures = [spec for spec in detector.inputs.values() if len(spec.shape) == 4]
    if set(YUNET) - set(detector.outputs) or len(pictures) != 1 or len(detector.inputs) != 1:
        raise BundleError(
            f"{folder}: face_detector needs one picture as input and YuNet's twelve outputs, found "
            f"{', '.join(s.describe() for s in detector.inputs.values())} and {sorted(detector.outputs)}"
        )


def _matches(found: tuple[int | str, ...], wanted: tuple[int | str, ...]) -> bool:
    return len(found) == len(wanted) and all(
        isinstance(w, str) or f == w for f, w in zip(found, wanted, strict=True)
    )
