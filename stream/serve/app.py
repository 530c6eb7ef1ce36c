"""The endpoints, each a few lines; `docs/guides/serve.md` has the table."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.resources import files

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from affectstream.stream.errors import AffectstreamError
from affectstream.stream.serve.guard import Guard, refusal
from affectstream.stream.serve.hub import Full, Hub
from affectstream.stream.serve.limits import MAX_BODY_BYTES, REQUEST_S
from affectstream.stream.serve.media import ingest, webrtc
from affectstream.stream.serve.media.formats import FORMATS
from affectstream.stream.serve.options import ServeOptions

_PAGE = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_MODALITIES = ("video", "voice")


class Endpoints:
    """What answers, around one hub."""

    def __init__(self, hub: Hub, options: ServeOptions) -> None:
        self._hub, self._options = hub, options
        folder = files("affectstream.stream.serve") / "page"
        self._page = {
            path: (folder.joinpath(name).read_bytes(), kind) for path, (name, kind) in _PAGE.items()
        }

    async def page(self, request: Request) -> Response:
        """The page and its two files."""
        content, kind = self._page[request.url.path]
        return Response(content, media_type=kind)

    async def healthz(self, request: Request) -> Response:
        """The process answers."""
        return JSONResponse({"ok": True})

    async def readyz(self, request: Request) -> Response:
        """Whether one more session would be taken."""
        hub = self._hub
        if hub.closing:
            return refusal(503, "the server is closing")
        if hub.full:
            return refusal(503, f"all {hub.max_sessions} sessions are in use", wait_s=5)
        return JSONResponse({"ok": True})

    async def about(self, request: Request) -> Response:
        """What the page has to know before it begins."""
        manifest = self._hub.recognizer.bundle.manifest
        return JSONResponse(
            {
                "bundle": manifest.name,
                "labels": list(manifest.labels),
                "modalities": list(self._hub.recognizer.bundle.modalities),
                "hop_s": manifest.hop_us / 1e6,
                "max_sessions": self._hub.max_sessions,
                "recording": self._hub.record is not None,
                "stun": list(self._options.stun),
            }
        )

    async def sessions(self, request: Request) -> Response:
        """Every live session."""
        return JSONResponse(
            {
                "max_sessions": self._hub.max_sessions,
                "sessions": [session.describe() for session in self._hub.sessions.values()],
            }
        )

    async def end(self, request: Request) -> Response:
        """End one session: its last events are told, and its client is hung up on."""
        session = self._hub.sessions.get(request.path_params["session"])
        if session is None:
            return refusal(404, "no such session: see GET /sessions")
        await self._hub.close(session)
        return JSONResponse({"session": session.number, "events": session.told})

    async def metrics(self, request: Request) -> Response:
        """Figures for Prometheus."""
        return Response(
            self._hub.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    async def offer(self, request: Request) -> Response:
        """A WebRTC client's offer; the answer opens a session."""
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return refusal(415, "expected content-type: application/json")
        body = await _body(request)
        try:
            return JSONResponse(await webrtc.accept(self._hub, body, self._options.stun))
        except webrtc.BadOffer as error:
            return refusal(400, str(error))
        except Full as error:
            return refusal(503, str(error), wait_s=5)
        except AffectstreamError as error:
            return refusal(422, str(error))

    async def events(self, socket: WebSocket) -> None:
        """Events of one session; with ``?everything=1`` faces, words and state too."""
        session = self._hub.sessions.get(socket.path_params["session"])
        if session is None:
            await socket.send_denial_response(refusal(404, "no such session: see GET /sessions"))
            return
        await socket.accept()
        outbox = session.audience.listen(everything=socket.query_params.get("everything") == "1")
        telling = asyncio.create_task(outbox.deliver(socket.send_text))
        leaving = asyncio.create_task(_left(socket))
        try:
            await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            session.audience.leave(outbox)
            for task in (telling, leaving):
                task.cancel()
            told, _ = await asyncio.gather(telling, leaving, return_exceptions=True)
        if told is None:  # everything was told
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await socket.close(1000)

    async def ingest(self, socket: WebSocket) -> None:
        """Media as the bytes of a file; a session as long as the connection."""
        query = socket.query_params
        container = query.get("format", "webm")
        sources = [m for m in query.get("modalities", "video,voice").split(",") if m]
        if container not in FORMATS:
            error = f"format {container[:40]!r}: expected one of {', '.join(FORMATS)}"
            await socket.send_denial_response(refusal(400, error))
            return
        if not set(sources) <= set(_MODALITIES):
            error = f"modalities {','.join(sources)[:40]!r}: expected video, voice or both"
            await socket.send_denial_response(refusal(400, error))
            return
        try:
            session = self._hub.open("ingest", sources, query.get("name"))
        except Full as full:
            await socket.send_denial_response(refusal(503, str(full), wait_s=5))
            return
        except AffectstreamError as fault:
            await socket.send_denial_response(refusal(422, str(fault)))
            return
        try:
            await socket.accept()
        except BaseException:
            await self._hub.close(session)
            raise
        await ingest.take_in(socket, self._hub, session, container)


def application(hub: Hub, options: ServeOptions) -> ASGIApp:
    """The whole application, guarded."""
    points = Endpoints(hub, options)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(hub.watch())
        yield
        watching.cancel()

    app = Starlette(
        routes=[
            *(Route(path, points.page) for path in _PAGE),
            Route("/healthz", points.healthz),
            Route("/readyz", points.readyz),
            Route("/about", points.about),
            Route("/sessions", points.sessions),
            Route("/sessions/{session}", points.end, methods=["DELETE"]),
            Route("/metrics", points.metrics),
            Route("/offer", points.offer, methods=["POST"]),
            WebSocketRoute("/events/{session}", points.events),
            WebSocketRoute("/ingest", points.ingest),
            WebSocketRoute("/{nothing:path}", _no_socket),
        ],
        exception_handlers={HTTPException: _failed},
        lifespan=lifespan,
    )
    return Guard(app, options, hub.metrics.count_refusal)


async def _body(request: Request) -> bytes:
    """The body, as far as it may be long and take. Raises `HTTPException`."""
    body = bytearray()
    try:
        async with asyncio.timeout(REQUEST_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise HTTPException(413, f"a body has at most {MAX_BODY_BYTES} bytes")
    except TimeoutError:
        raise HTTPException(408, f"the body took more than {REQUEST_S:g} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the body broke off") from None
    return bytes(body)


async def _no_socket(socket: WebSocket) -> None:
    await socket.send_denial_response(refusal(404, "no WebSocket here: /ingest or /events/SESSION"))


async def _left(socket: WebSocket) -> None:
    """Return when a listener goes. What it sends is not read any further."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(error.status_code, error.detail)
