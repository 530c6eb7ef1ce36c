"""What a person may choose about the server; checked once, here."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path

from affectstream.stream.errors import OptionError

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names under which a page on this machine may ask a server that only this machine can reach."""

_MIN_TOKEN_CHARS = 16


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where to listen, for whom, and what is kept. Raises `OptionError` for what does not fit.

    `token` is demanded of every client where it is given, and has to be given on any address but this
    machine's own. `tls` is (certificate, key). `record` is the folder in which sessions are stored; None
    stores nothing. `stun` are URLs of ICE servers, none unless given. `origins` are pages of other
    servers that may use this one, such as ``https://lab.example``. `lsl` begins the names of outlets of
    the Lab Streaming Layer; `words` is a recogniser of words (`open_recognizer`), which may fetch its
    model with `words_download`.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    max_sessions: int = 8
    token: str | None = None
    tls: tuple[Path, Path] | None = None
    record: Path | None = None
    stun: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    lsl: str | None = None
    words: str | None = None
    words_download: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise OptionError(f"--port {self.port}: expected 0 (any that is free) to 65535")
        if not 1 <= self.max_sessions <= 256:
            raise OptionError(f"--max-sessions {self.max_sessions}: expected 1 to 256")
        if self.token is not None and len(self.token) < _MIN_TOKEN_CHARS:
            raise OptionError(
                f"--token has {len(self.token)} characters, expected {_MIN_TOKEN_CHARS} or more: "
                "python -c 'import secrets; print(secrets.token_urlsafe())' makes one"
            )
        if self.token is not None and not re.fullmatch(r"[\w.~+/=-]+", self.token, re.ASCII):
            raise OptionError("--token holds a character that a URL cannot: use letters and digits")
        if not self.loopback and self.token is None:
            raise OptionError(
                f"--host {self.host} lets other machines in: give a --token that they have to show, "
                "and --tls-cert with --tls-key so that nobody on the way can read it"
            )
        for url in self.stun:
            if re.fullmatch(r"stuns?:[\w.:\[\]-]+(\?transport=(udp|tcp))?", url) is None:
                raise OptionError(f"--stun {url!r}: expected such as stun:stun.example.org:3478")
        for origin in self.origins:
            if re.fullmatch(r"https?://[^/?#\s]+", origin) is None:
                raise OptionError(f"--origin {origin!r}: expected such as https://lab.example")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return "http" if self.tls is None else "https"


def default_sessions() -> int:
    """Two for each core, which leaves room for decoding larger pictures and for other programs.
    `affectstream bench sessions` tells how many more a machine bears."""
    return 2 * (os.cpu_count() or 1)
