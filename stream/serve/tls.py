"""The certificate of a server and its key: what is wrong with them, said before anything listens."""

from __future__ import annotations

import ssl
from pathlib import Path

from affectstream.stream.errors import OptionError


def check(certificate: Path, key: Path) -> None:
    """Raises `OptionError` where the two are not PEM files that belong together, or may not be read."""
    for option, path, wanted in (
        ("--tls-cert", certificate, b"CERTIFICATE"),
        ("--tls-key", key, b"PRIVATE KEY"),
    ):
        try:
            text = path.read_bytes()
        except OSError as error:
            raise OptionError(f"{option} {path}: cannot be read: {error.strerror}") from error
        if b"-----BEGIN" not in text or wanted not in text:
            raise OptionError(f"{option} {path}: holds no {wanted.decode().lower()} in PEM format")
    asked = False

    def no_password() -> bytes:  # OpenSSL would ask at the terminal, and wait
        nonlocal asked
        asked = True
        return b""

    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key, no_password)
    except (ssl.SSLError, OSError) as error:
        if asked:
            raise OptionError(
                f"--tls-key {key}: is protected by a password, which a server cannot ask for: "
                "openssl pkey -in KEY -out PLAIN writes it without"
            ) from error
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            raise OptionError(f"--tls-key {key}: is not the key of {certificate}") from error
        raise OptionError(
            f"--tls-cert {certificate} and --tls-key {key}: cannot be used: "
            f"{getattr(error, 'reason', None) or error}"
        ) from error
