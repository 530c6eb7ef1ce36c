"""Sends live results to the Lab Streaming Layer, to record them beside EEG or gaze.

Three streams open at the start, so that LabRecorder finds them before the first face:

- ``NAME-emotion`` (type Emotion) and ``NAME-attention`` (type Attention; head pose, and gaze, eyes and mouth
  where the bundle measures them): float32, one sample a hop, of the
  person in view with the lowest track, or of the recording itself if nobody is in view. The last channel is
  the track, 0 for the recording. A hop without a label, or a missing hop, is NaN.
- ``NAME-markers`` (type Markers): segments and stream events as JSON, one string each.

The timestamp of a sample is the time on LSL's clock at which the end of its hop was captured; that of a
segment is the time of its offset. pylsl is imported on use.
"""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.errors import OptionError
from affectstream.stream.events import Attention, Emotion, Event, Segment, Stream, encode
from affectstream.stream.fusion.affect import DERIVED, derivable
from affectstream.stream.results.interpret import HopResult
from affectstream.stream.sinks.regular import CaptureClock, Sample, Schedule

if TYPE_CHECKING:
    from pylsl import StreamOutlet

NAN = float("nan")
_SEND_S = 0.2
"""liblsl sends in its own thread, and loses what is not sent when an outlet is closed."""
_MAX_NAME = 200

Channel = tuple[str, str, str]
"""Label, unit and type, as in the channel description of XDF."""

_TRACK: Channel = ("track", "number", "Track")
_ATTENTION: tuple[Channel, ...] = (
    ("attention", "normalized", "Attention"),
    ("yaw", "degrees", "HeadPose"),
    ("pitch", "degrees", "HeadPose"),
    ("roll", "degrees", "HeadPose"),
)
_GEOMETRY: tuple[Channel, ...] = (
    ("gaze_yaw", "degrees", "Gaze"),
    ("gaze_pitch", "degrees", "Gaze"),
    ("eyes_open", "normalized", "Eyes"),
    ("mouth_open", "normalized", "Mouth"),
)
_DIMENSIONS = ("valence", "arousal", "engagement", "intensity")


class LslOutlets:
    """The outlets of one session. Any thread may call `push` and `mark`; neither blocks."""

    def __init__(self, name: str, bundle: Bundle) -> None:
        """Open the outlets.

        Raises `OptionError` for a name that is not allowed or without liblsl, `ModuleNotFoundError` without
        pylsl.
        """
        self._lsl = check_name(name)
        self._bundle, self.name = bundle, name
        self._lock = threading.Condition()
        self._clock, self._schedule = CaptureClock(), Schedule(bundle.manifest.hop_us)
        self._shift_s = float(self._lsl.local_clock()) - time.monotonic()
        self._closed = False
        self._regular: list[tuple[StreamOutlet, Callable[[HopResult], list[float]]]] = []
        if bundle.head_outputs - {"attention"}:
            emotions = Emotions(bundle.manifest.labels, bundle.head_outputs)
            outlet = self._outlet("emotion", "Emotion", emotions.channels)
            self._regular.append((outlet, emotions.sample))
        if "attention" in bundle.head_outputs or "video" in bundle.modalities:
            attention = Attentions(bundle.has_geometry)
            outlet = self._outlet("attention", "Attention", attention.channels)
            self._regular.append((outlet, attention.sample))
        self._markers = self._outlet("markers", "Markers", (("event", "json", "Markers"),))
        self._thread = threading.Thread(target=self._keep_time, name=f"lsl {name}", daemon=True)
        self._thread.start()

    @property
    def note(self) -> str:
        """A message for the user: the names of the streams, and who can read them."""
        names = [outlet.get_info().name() for outlet, _ in self._regular]
        return (
            f"LSL: {', '.join([*names, self._markers.get_info().name()])}; "
            "every machine that reaches this one can read them"
        )

    @property
    def missing(self) -> int:
        """Hops that were sent as NaN because they did not come in time."""
        return self._schedule.missing

    @property
    def late(self) -> int:
        """Hops that came after they had been sent as NaN."""
        return self._schedule.late

    def push(self, hop: HopResult, zero_s: float | None) -> None:
        """Send a hop. `zero_s` is when t = 0 of the session was, on the monotonic clock (`LiveSession`)."""
        if not hop.readings or zero_s is None:
            return
        end_us = hop.readings[0][0].end_us
        values = tuple(sample(hop) for _, sample in self._regular)
        with self._lock:
            self._clock.follow(zero_s, end_us / 1e6)
            self._send(self._schedule.push(end_us, values))
            self._lock.notify()

    def mark(self, event: Event, zero_s: float | None) -> None:
        """Send a segment or stream event as a marker; ignore other events."""
        if not isinstance(event, Segment | Stream):
            return
        with self._lock:
            if self._closed:
                return
            zero_s = zero_s if self._clock.zero_s is None else self._clock.zero_s
            at_s = time.monotonic() if zero_s is None else zero_s + event.t_end
            self._markers.push_sample([encode(event).decode()], at_s + self._shift_s)

    def close(self) -> None:
        """Send the last samples and close the outlets. Does nothing the second time."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._lock.notify()
        self._thread.join()
        if any(o.have_consumers() for o in (self._markers, *(o for o, _ in self._regular))):
            time.sleep(_SEND_S)
        self._regular.clear()
        del self._markers

    def _keep_time(self) -> None:
        """Send missing hops when they are due."""
        with self._lock:
            while not self._closed:
                due_us, zero_s = self._schedule.due_us, self._clock.zero_s
                if due_us is None or zero_s is None:
                    self._lock.wait()
                    continue
                now_s = time.monotonic()
                self._send(self._schedule.overdue((now_s - zero_s) * 1e6))
                if (wait_s := zero_s + due_us / 1e6 - now_s) > 0:
                    self._lock.wait(wait_s)

    def _send(self, samples: list[Sample]) -> None:
        zero_s = self._clock.zero_s
        if self._closed or zero_s is None:
            return
        for sample in samples:
            at_s = zero_s + sample.end_us / 1e6 + self._shift_s
            for number, (outlet, _) in enumerate(self._regular):
                missing = [NAN] * outlet.channel_count
                outlet.push_sample(
                    missing if sample.values is None else sample.values[number], at_s
                )

    def _outlet(self, what: str, kind: str, channels: Sequence[Channel]) -> StreamOutlet:
        lsl, manifest = self._lsl, self._bundle.manifest
        markers = kind == "Markers"
        # It is the same after a restart, so that receivers reconnect by themselves.
        source = f"affectstream:{platform.node()}:{self.name}:{what}:{manifest.name}"
        info = lsl.StreamInfo(
            name=f"{self.name}-{what}",
            type=kind,
            channel_count=len(channels),
            nominal_srate=lsl.IRREGULAR_RATE if markers else 1e6 / manifest.hop_us,
            channel_format=lsl.cf_string if markers else lsl.cf_float32,
            source_id=source,
        )
        desc = info.desc()
        described = desc.append_child("channels")
        for label, unit, channel_kind in channels:
            channel = described.append_child("channel")
            channel.append_child_value("label", label)
            channel.append_child_value("unit", unit)
            channel.append_child_value("type", channel_kind)
        acquisition = desc.append_child("acquisition")
        acquisition.append_child_value("manufacturer", "Affectstream")
        acquisition.append_child_value("model", f"{manifest.name} {manifest.version}")
        settings = desc.append_child("settings")
        settings.append_child_value("hop_s", str(manifest.hop_us / 1e6))
        settings.append_child_value("window_s", str(manifest.window_us / 1e6))
        return lsl.StreamOutlet(info)


def check_name(name: str) -> Any:
    """Import and return pylsl, and check `name`. Raises what `LslOutlets` raises."""
    if not name.strip() or not name.isprintable() or len(name) > _MAX_NAME:
        raise OptionError(
            f"--lsl {name[:40]!r}: expected a name of 1 to {_MAX_NAME} printable characters"
        )
    try:
        import pylsl
    except RuntimeError as error:
        raise OptionError(
            f"--lsl: pylsl cannot load liblsl ({str(error).splitlines()[0]}): "
            "pip install --force-reinstall pylsl, or set PYLSL_LIB to the file of liblsl"
        ) from error
    return pylsl


class Emotions:
    """The channels of ``NAME-emotion`` for the outputs of a bundle, and the sample of a hop."""

    def __init__(self, labels: Sequence[str], outputs: Collection[str]) -> None:
        """Labels are probabilities, or intensities if `outputs` has only those."""
        self._probable = "logits" in outputs
        self._labels = labels if self._probable or "intensities" in outputs else ()
        derived = DERIVED if derivable(labels, set(outputs)) else ()
        self._dimensions = tuple(name for name in _DIMENSIONS if name in {*outputs, *derived})
        unit = "probability" if self._probable else "normalized"
        self.channels: tuple[Channel, ...] = (
            *((label, unit, "Emotion") for label in self._labels),
            *((name, "normalized", name.capitalize()) for name in self._dimensions),
            ("confidence", "probability", "Confidence"),
            _TRACK,
        )

    def sample(self, hop: HopResult) -> list[float]:
        """One value for each channel; NaN for all but the track if the recognizer abstained."""
        event = min((e for e in hop.events if isinstance(e, Emotion)), key=_order, default=None)
        if event is None:
            return [NAN] * len(self.channels)
        track = float(event.track or 0)
        if event.abstain is not None:
            return [NAN] * (len(self.channels) - 1) + [track]
        scores = (event.scores if self._probable else event.intensities) or {}
        return [
            *(scores.get(label, NAN) for label in self._labels),
            *(_number(getattr(event, name)) for name in self._dimensions),
            _number(event.confidence),
            track,
        ]


class Attentions:
    """The channels of ``NAME-attention``, and the sample of a hop."""

    def __init__(self, with_geometry: bool) -> None:
        """`with_geometry`: whether the bundle measures gaze, eyes and mouth."""
        self._measures = (*_ATTENTION, *(_GEOMETRY if with_geometry else ()))
        self.channels: tuple[Channel, ...] = (*self._measures, _TRACK)

    def sample(self, hop: HopResult) -> list[float]:
        """One value for each channel; NaN where it is not known."""
        event = min((e for e in hop.events if isinstance(e, Attention)), key=_order, default=None)
        if event is None:
            return [NAN] * len(self.channels)
        fields = ("score" if name == "attention" else name for name, _, _ in self._measures)
        return [*(_number(getattr(event, name)) for name in fields), float(event.track or 0)]


def _order(event: Emotion | Attention) -> float:
    """Sort key: tracks by number, the recording last."""
    return float("inf") if event.track is None else event.track


def _number(value: float | None) -> float:
    return NAN if value is None else value
