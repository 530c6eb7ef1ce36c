"""Why a live source cannot be opened or was lost, in plain words: FFmpeg's own are unclear or wrong."""

from __future__ import annotations

import errno

import av

from affectstream.stream.live.capture.address import Opening
from affectstream.stream.media.opening import explain_failure

_UNPLUGGED = "was disconnected: was it unplugged?"
_NUMBERS = {
    errno.EBUSY: "is in use by another program",
    errno.ENODEV: _UNPLUGGED,
    errno.ENXIO: _UNPLUGGED,
    errno.EADDRINUSE: "this address is in use by another program on this machine",
    errno.EADDRNOTAVAIL: "this address is not one of this machine",
    errno.EHOSTUNREACH: "this host cannot be reached: is the network up?",
    errno.ENETUNREACH: "this host cannot be reached: is the network up?",
    errno.ECONNRESET: "the sender closed the connection",
    errno.EPIPE: "the sender closed the connection",
}


def diagnose(error: BaseException, opening: Opening, *, opened: bool, after_s: float) -> str:
    """A message for `error`, which was raised `after_s` after the opening began.

    It names the source by the opening's name alone: FFmpeg's messages repeat the URL, passwords included.
    """
    reason = _reason(error, opening, opened, after_s)
    hint = f"; {opening.hint}" if opening.hint and not opened else ""
    return f"{opening.name}: {reason}{hint}"


def _reason(error: BaseException, opening: Opening, opened: bool, after_s: float) -> str:
    scheme = opening.url.partition("://")[0]
    match error:
        case av.error.ExitError() | TimeoutError():
            return _silence(opening, opened)
        case ConnectionRefusedError():
            return "refused the connection: nothing is listening there; is the sender running?"
        case av.error.HTTPUnauthorizedError() | av.error.HTTPForbiddenError():
            return (
                f"rejected the user name or password: expected {scheme}://USER:PASSWORD@HOST/PATH "
                "(special characters as %40 for @)"
            )
        case av.error.HTTPNotFoundError():
            return "has nothing at this path (404): check the part after the host"
        case av.error.HTTPServerError() | av.error.HTTPClientError():
            return "answered with an error: see the server's own log"
        case av.error.ProtocolNotFoundError():
            return f"PyAV's FFmpeg does not know {scheme}://"
        case av.error.InvalidDataError():
            # RTSP raises this too if nobody answers.
            if scheme.startswith("rtsp") and after_s >= 0.9 * opening.open_s:
                return _silence(opening, opened)
            if opening.is_recording and opened:
                return "is damaged, and cannot be read any further"
            if opening.is_recording:
                return explain_failure(opening.path, error)
            return "sends nothing that FFmpeg can read as video or sound"
        case FileNotFoundError():
            return "no such file or device"
        case IsADirectoryError():
            return "is a directory; give a recording in it"
        case PermissionError():
            return "may not be read: permission denied"
        case OSError(errno=number) if number in _NUMBERS:
            return _NUMBERS[number]
        case OSError(errno=errno.EIO) if opening.is_device:
            return _UNPLUGGED if opened else "not found, or in use by another program"
        case OSError(errno=errno.EIO):
            return (
                "the connection was lost" if opened else "the host is unknown, or does not answer"
            )
        case _:
            return f"cannot be read ({_text(error)})"


def _silence(opening: Opening, opened: bool) -> str:
    if opened:
        return f"sent nothing for {opening.read_s:g} s"
    return f"gave no answer, or sent nothing, within {opening.open_s:g} s"


def _text(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or type(error).__name__)
