"""The options of the server, checked once, here."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from affectstream.engines.labels import AttentionOption, SpeechGateOption
from affectstream.stream.errors import OptionError
from affectstream.stream.options import SourceOptions

Batching = Literal["auto", "on", "off"]
"""Whether requests of different sessions to one engine run as a batch; auto: on a GPU."""

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
"""Host names that reach a server on this machine only."""

MAX_PIXELS = 4096 * 2304
"""Enough for 4K video, and less than for files that the user chose (`stream.options.MAX_PIXELS`)."""
_MIN_TOKEN_CHARS = 16


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where to listen, for whom, and what to store. Raises `OptionError` for values that do not fit.

    Every client has to show the `token`, which is required unless `host` is this machine only. With the
    `admin_token` a client reaches the sessions of all others too (see `access`). `tls` is
    (certificate, key), PEM files. `record` is the folder where sessions are stored; None stores
    nothing. `stun` are URLs of STUN servers. `origins` are other sites whose pages may use this server,
    such as ``https://lab.example``. `proxies` are addresses or networks of proxies, whose ``X-Forwarded-For``
    names the client. `lsl` is the prefix of the outlets of the Lab Streaming Layer.
    `words` names a speech recognizer (`open_recognizer`), which may download its model with
    `words_download`. `batch` is whether requests of different sessions run together. `max_pixels` is the
    largest picture that a client may send. `attention`,
    `baseline_us`, `neutral_us`, `vad`, `purpose` and `consent` are those of `SourceOptions`, for every
    session.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    max_sessions: int = 8
    token: str | None = None
    admin_token: str | None = None
    tls: tuple[Path, Path] | None = None
    record: Path | None = None
    stun: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    lsl: str | None = None
    words: str | None = None
    words_download: bool = False
    max_pixels: int = MAX_PIXELS
    attention: AttentionOption = "gaze"
    baseline_us: int = 0
    neutral_us: int = 0
    vad: SpeechGateOption = "silero"
    purpose: str | None = None
    consent: str | None = None
    batch: Batching = "auto"
    of_sessions: SourceOptions = field(init=False)
    """The options of every session, made of these."""

    def __post_init__(self) -> None:
        of_sessions = SourceOptions(
            attention=self.attention,
            baseline_us=self.baseline_us,
            neutral_us=self.neutral_us,
            vad=self.vad,
            purpose=self.purpose,
            consent=self.consent,
        )
        object.__setattr__(self, "of_sessions", of_sessions)
        if not 0 <= self.port <= 65535:
            raise OptionError(f"--port {self.port}: expected 0 (any free port) to 65535")
        if not 1 <= self.max_sessions <= 256:
            raise OptionError(f"--max-sessions {self.max_sessions}: expected 1 to 256")
        if self.batch not in get_args(Batching):
            raise OptionError(
                f"--batch {self.batch}: expected one of {', '.join(get_args(Batching))}"
            )
        if self.max_pixels < 1:
            raise OptionError(f"--max-pixels {self.max_pixels}: expected at least 1")
        for option, secret in (("--token", self.token), ("--admin-token", self.admin_token)):
            _check_secret(option, secret)
        if self.token is not None and self.token == self.admin_token:
            raise OptionError("--admin-token is the same as --token: choose two different ones")
        if not self.loopback and self.token is None:
            raise OptionError(
                f"--host {self.host} lets other machines in: set a --token that they have to show, "
                "and --tls-cert with --tls-key so that nobody on the network can read it"
            )
        for proxy in self.proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                raise OptionError(
                    f"--proxy {proxy!r}: expected an address or network such as 10.0.0.5 or 10.0.0.0/24"
                ) from error
        for url in self.stun:
            if re.fullmatch(r"stuns?:[\w.:\[\]-]+(\?transport=(udp|tcp))?", url) is None:
                raise OptionError(
                    f"--stun {url!r}: expected a URL such as stun:stun.example.org:3478"
                )
        for origin in self.origins:
            if re.fullmatch(r"https?://[^/?#\s]+", origin) is None:
                raise OptionError(
                    f"--origin {origin!r}: expected an origin such as https://lab.example"
                )

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


def _check_secret(option: str, secret: str | None) -> None:
    """Raises `OptionError` if it is too short, or cannot stand in a URL."""
    if secret is None:
        return
    if len(secret) < _MIN_TOKEN_CHARS:
        raise OptionError(
            f"{option} has {len(secret)} characters, expected {_MIN_TOKEN_CHARS} or more: "
            "python -c 'import secrets; print(secrets.token_urlsafe())' makes one"
        )
    if not re.fullmatch(r"[\w.~+/=-]+", secret, re.ASCII):
        raise OptionError(
            f"{option} has a character that a URL cannot have: use letters and digits"
        )


def default_sessions() -> int:
    """Two per core, which leaves room for decoding larger video and for other programs.

    `affectstream bench sessions` measures how many a machine can serve."""
    return 2 * (os.cpu_count() or 1)


def check_certificate(certificate: Path, key: Path) -> None:
    """Raises `OptionError` unless both are readable PEM files and the key belongs to the certificate."""
    for option, path, label in (
        ("--tls-cert", certificate, b"CERTIFICATE"),
        ("--tls-key", key, b"PRIVATE KEY"),
    ):
        try:
            text = path.read_bytes()
        except OSError as error:
            raise OptionError(f"{option} {path}: cannot be read: {error.strerror}") from error
        if b"-----BEGIN" not in text or label not in text:
            raise OptionError(f"{option} {path}: holds no {label.decode().lower()} in PEM format")
    encrypted = False

    def no_password() -> bytes:  # or OpenSSL would ask at the terminal, and wait
        nonlocal encrypted
        encrypted = True
        return b""

    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key, no_password)
    except (ssl.SSLError, OSError) as error:
        if encrypted:
            raise OptionError(
                f"--tls-key {key}: is protected by a password, which a server cannot ask for: "
                "openssl pkey -in KEY -out PLAIN writes a copy without one"
            ) from error
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            raise OptionError(f"--tls-key {key}: is not the key of {certificate}") from error
        raise OptionError(
            f"--tls-cert {certificate} and --tls-key {key}: cannot be used: "
            f"{getattr(error, 'reason', None) or error}"
        ) from error
