"""Downloads one file from a server that may be slow, broken or hostile.

The whole download has a deadline, a redirect to another scheme is not followed, and of what the server sends
only printable text reaches a message.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from functools import partial
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import urlsplit

_TIMEOUT_S = 30.0
"""For one answer of the server; the deadline is for all of them together."""
_BLOCK = 1 << 16
_RETRY_STATUS = (408, 429, 500, 502, 503, 504)  # HTTP errors that may be temporary
_REDIRECT_STATUS = (301, 302, 303, 307, 308)
_LONGEST_QUOTE = 80

PullProgress = Callable[[int], None]
"""Called with the number of bytes received so far."""


class RetryableError(Exception):
    """An attempt failed, but another may succeed."""


class PermanentError(Exception):
    """Another attempt would fail too."""


class Deadline:
    """The time limit of a download. While it is entered, connections that exceed the limit are cut."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._end = time.monotonic() + limit_s
        self._sockets: list[socket.socket] = []
        self._timer: threading.Timer | None = None

    @property
    def expired(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._end

    def watch(self, connected: socket.socket) -> None:
        """Cut this connection when the time is up."""
        self._sockets.append(connected)
        if self.expired:
            self._cut()

    def _cut(self) -> None:
        for connected in tuple(self._sockets):
            with suppress(OSError):  # closed already
                # Not the method of an SSLSocket, which would take the TLS state from the reading thread.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._timer = threading.Timer(max(0.0, self._end - time.monotonic()), self._cut)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        assert self._timer is not None
        self._timer.cancel()
        self._sockets.clear()


class _HTTPConnection(http.client.HTTPConnection):
    def __init__(self, host: str, *, deadline: Deadline, **options: Any) -> None:
        super().__init__(host, **options)
        self._deadline = deadline

    def connect(self) -> None:
        super().connect()
        self._deadline.watch(self.sock)


class _HTTPSConnection(http.client.HTTPSConnection):
    def __init__(self, host: str, *, deadline: Deadline, **options: Any) -> None:
        super().__init__(host, **options)
        self._deadline = deadline

    def connect(self) -> None:
        super().connect()
        self._deadline.watch(self.sock)


class _WatchedHTTP(urllib.request.HTTPHandler):
    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._connect = partial(_HTTPConnection, deadline=deadline)

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connect, req)


class _WatchedHTTPS(urllib.request.HTTPSHandler):
    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._connect = partial(_HTTPSConnection, deadline=deadline)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connect, req)


class _SameScheme(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request to follow, or None, which makes the redirect an error."""
        if urlsplit(newurl).scheme != urlsplit(req.full_url).scheme:
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def download(url: str, size: int, target: Path, progress: PullProgress, deadline: Deadline) -> bool:
    """Download what is missing of the `size` bytes of `target`; returns whether it continued an older part.

    Raises `RetryableError` or `PermanentError`, and `OSError` when `target` cannot be written.
    """
    _check(deadline, url, size)
    have = target.stat().st_size if target.exists() else 0
    if have >= size:
        target.unlink()
        have = 0
    request = urllib.request.Request(url, headers={"User-Agent": "affectstream"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    # A new opener: the module's own would keep the proxies of its first use.
    opener = urllib.request.build_opener(
        _WatchedHTTP(deadline), _WatchedHTTPS(deadline), _SameScheme()
    )
    try:
        with deadline, opener.open(request, timeout=_TIMEOUT_S) as response:
            have = offset = _offset(url, size, have, response)
            with target.open("r+b" if offset else "wb") as file:
                file.seek(offset)
                file.truncate()
                # read1 returns what has arrived: a slow server does not delay the progress.
                while have <= size and (block := response.read1(_BLOCK)):
                    have += len(block)
                    file.write(block[: max(0, len(block) - (have - size))])
                    progress(min(have, size))
    except urllib.error.HTTPError as error:
        raise _http_error(url, have, target, error) from error
    except urllib.error.URLError as error:
        _check(deadline, url, size)
        raise RetryableError(f"{url} cannot be reached: {_quote(error.reason)}") from error
    except ValueError as error:  # a redirect to an address that is none
        raise PermanentError(f"{url} cannot be reached: {_quote(error)}") from error
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        _check(deadline, url, size)
        raise RetryableError(
            f"{url} broke off after {have} of {size} bytes: {_quote(error)}"
        ) from error
    if have > size:
        target.unlink()
        raise PermanentError(f"{url} sends more than the {size} bytes expected")
    if have < size:
        _check(deadline, url, size)
        raise RetryableError(f"{url} ended after {have} of {size} bytes")
    return offset > 0


def _http_error(
    url: str, have: int, target: Path, error: urllib.error.HTTPError
) -> RetryableError | PermanentError:
    error.close()
    if error.code == 416:  # the server has fewer bytes than we have: start again
        target.unlink(missing_ok=True)
        return RetryableError(f"{url} does not continue at {have} bytes")
    if error.code in _REDIRECT_STATUS:
        scheme = urlsplit(url).scheme
        return PermanentError(
            f"{url} redirects too often, or to an address that does not begin with {scheme}://, which is "
            "not followed"
        )
    kind = RetryableError if error.code in _RETRY_STATUS else PermanentError
    return kind(f"{url} answers {error.code} {http.client.responses.get(error.code, '')}".strip())


def _check(deadline: Deadline, url: str, size: int) -> None:
    if deadline.expired:
        raise PermanentError(
            f"{url} did not send its {size} bytes within {deadline.limit_s:.3g} s: run the command "
            "again, it continues there"
        )


def _offset(url: str, size: int, have: int, response: http.client.HTTPResponse) -> int:
    """The offset at which the response begins: 0 if the server does not continue the older part.

    Raises `PermanentError` when the server's file has another size (most often it is a login page), or when
    the response begins after the `have` bytes that we have.
    """
    part = re.fullmatch(r"bytes (\d{1,19})-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if response.status == 206 and part:
        offset, found = int(part[1]), part[2]
    else:
        offset, found = 0, response.headers.get("Content-Length", "*")
    if found.isdecimal() and (len(found) > 19 or int(found) != size):
        raise PermanentError(f"{url} has {_quote(found)} bytes, expected {size}")
    if offset > have:
        raise PermanentError(f"{url} continues at byte {offset}, expected {have}")
    return offset


def _quote(answer: object) -> str:
    """Text that may come from the server: one short line of printable ASCII."""
    text = " ".join(str(answer).split())[:_LONGEST_QUOTE]
    return "".join(c if " " <= c <= "~" else "?" for c in text)
