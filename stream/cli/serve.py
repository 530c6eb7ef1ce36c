"""`affectstream serve`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from affectstream.stream.cli.flags import (
    Attention,
    Baseline,
    BundleName,
    Consent,
    Device,
    Lsl,
    Neutral,
    Otel,
    Purpose,
    Trace,
    Vad,
    Words,
    WordsDownload,
    parse_seconds,
    tracing,
)

if TYPE_CHECKING:
    from affectstream.stream.serve.options import ServeOptions


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on. One that other machines reach needs --token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 chooses a free one.")] = 8765,
    bundle: BundleName = "pocket",
    device: Device = "auto",
    max_sessions: Annotated[
        int | None,
        typer.Option(help="Most sessions at the same time.", show_default="2 a core"),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="AFFECTSTREAM_TOKEN",
            help="Secret that every client has to send. With it a client opens sessions of its own.",
            show_default=False,
            show_envvar=True,
        ),
    ] = None,
    admin_token: Annotated[
        str | None,
        typer.Option(
            envvar="AFFECTSTREAM_ADMIN_TOKEN",
            help="Another secret, which reaches the sessions of all clients, and the metrics.",
            show_default=False,
            show_envvar=True,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate (PEM) for https.", show_default=False)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Private key (PEM) of the certificate.", show_default=False)
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            help="Store video, sound and events of every session in this folder; the page says so.",
            show_default="store nothing",
        ),
    ] = None,
    stun: Annotated[
        list[str] | None,
        typer.Option(help="STUN server, such as stun:HOST:3478. Repeatable.", show_default="none"),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Another site whose pages may use this server. Repeatable.", show_default=False
        ),
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="Address or network of a proxy that names its clients (X-Forwarded-For). Repeatable.",
            show_default=False,
        ),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            help="Largest picture that a client may send, in pixels.",
            show_default="9437184: 4096 x 2304",
        ),
    ] = None,
    attention: Attention = "gaze",
    baseline: Baseline = "0s",
    neutral: Neutral = "0s",
    vad: Vad = "silero",
    lsl: Lsl = None,
    words: Words = None,
    words_download: WordsDownload = False,
    purpose: Purpose = None,
    consent: Consent = None,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            max=64,
            help="Processes that serve behind the one port, each with its own engines. They divide "
            "--max-sessions among them.",
        ),
    ] = 1,
    batch: Annotated[
        Literal["auto", "on", "off"],
        typer.Option(
            help="Run requests of different sessions that wait for one engine as a batch; auto: on a GPU."
        ),
    ] = "auto",
    trace: Trace = None,
    otel: Otel = False,
) -> None:
    """Serve live sessions to browsers, with WebSockets and metrics for programs.

    Example: [bold]affectstream serve[/bold], then open http://127.0.0.1:8765
    """
    # Imported here so that --help answers at once.
    from affectstream.stream import exits
    from affectstream.stream.recognizer import Recognizer
    from affectstream.stream.serve.options import MAX_PIXELS, ServeOptions, default_sessions
    from affectstream.stream.serve.server import Server
    from affectstream.stream.serve.server import serve as run
    from affectstream.stream.serve.supervisor import Supervisor

    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls-cert and --tls-key need each other", param_hint="--tls-key")
    options = ServeOptions(
        host=host,
        port=port,
        max_sessions=default_sessions() if max_sessions is None else max_sessions,
        token=token,
        admin_token=admin_token,
        tls=None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
        record=record,
        stun=tuple(stun or ()),
        origins=tuple(origin or ()),
        proxies=tuple(proxy or ()),
        lsl=lsl,
        words=words,
        words_download=words_download,
        max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
        attention=attention,
        baseline_us=round(parse_seconds(baseline, "--baseline") * 1e6),
        neutral_us=round(parse_seconds(neutral, "--neutral") * 1e6),
        vad=vad,
        purpose=purpose,
        consent=consent,
        batch=batch,
    )
    if workers > 1 and (trace is not None or otel):
        flag = "--otel" if trace is None else "--trace"
        raise typer.BadParameter("traces one process: leave --workers out", param_hint=flag)
    server: Server | Supervisor
    if workers > 1:
        server = Supervisor(bundle, device, options, workers)
        server.run(lambda address: _announce(address, options))
    else:
        with (
            tracing(trace, "serve", otel=otel),
            Recognizer.open(bundle, device=device) as recognizer,
        ):
            server = run(recognizer, options, announce=lambda address: _announce(address, options))
    print(f"served {server.totals}", file=sys.stderr)
    if server.signal == signal.SIGINT:
        raise typer.Exit(exits.INTERRUPTED)


def _announce(address: str, options: ServeOptions) -> None:
    print(address, flush=True)
    notes = []
    if options.token is not None:
        notes.append(f"open {address}/#token=TOKEN, with your token instead of TOKEN")
    if not options.loopback and options.tls is None:
        notes.append(
            "without --tls-cert and --tls-key anyone on the network path can read the token, faces and "
            "voices, and browsers refuse the camera"
        )
    if options.lsl is not None:
        notes.append("every machine that reaches this one can read what is sent to LSL")
    if options.record is not None:
        notes.append(f"every session is stored in {options.record}")
    for note in notes:
        print(note, file=sys.stderr, flush=True)
