"""The endpoints. docs/guides/serve.md has their table."""

from __future__ import annotations

import asyncio
import contextlib
import json
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
from affectstream.stream.serve.http.access import Access
from affectstream.stream.serve.http.guard import Guard, refusal
from affectstream.stream.serve.hub import Hub, Unavailable
from affectstream.stream.serve.ingest import upload, webrtc
from affectstream.stream.serve.ingest.formats import ContainerFormat
from affectstream.stream.serve.limits import MAX_BODY_BYTES, REQUEST_S
from affectstream.stream.serve.options import ServeOptions
from affectstream.stream.serve.workers.colleagues import Colleagues
from affectstream.stream.serve.workers.merging import merge_metrics
from affectstream.stream.serve.workers.router import Router
from affectstream.stream.serve.workers.tunnel import passed_on

_SHARED = "bands.js"
"""The script that the report has too."""
_PAGE = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/connect.js": ("connect.js", "text/javascript"),
    f"/{_SHARED}": (_SHARED, "text/javascript"),
    "/draw.js": ("draw.js", "text/javascript"),
    "/keep.js": ("keep.js", "text/javascript"),
}
_NO_TOKEN = frozenset({*_PAGE, "/healthz", "/readyz"})
"""Paths that need no token: they reveal nothing, and a person enters the token on the page."""
_MODALITIES = {"video", "voice"}
_SESSION_HEADER = "affectstream-session"
"""Names a new session in the answer, for a proxy that has to keep it to its machine."""
_RETRY_S = 5.0
"""When to ask again for a session, if all are in use."""


def application(hub: Hub, options: ServeOptions, colleagues: Colleagues | None = None) -> ASGIApp:
    """The application, behind its `Guard`. With `colleagues` it is one of several workers."""
    is_lost = (lambda session_id: False) if colleagues is None else colleagues.is_lost
    access = Access(options, hub.sessions, is_lost=is_lost)
    endpoints = Endpoints(hub, options, access, colleagues)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        reporting = asyncio.create_task(hub.report_states())
        yield
        reporting.cancel()

    app = Starlette(
        routes=[
            *(Route(path, endpoints.page) for path in _PAGE),
            Route("/healthz", endpoints.healthz),
            Route("/readyz", endpoints.readyz),
            Route("/about", endpoints.about),
            Route("/sessions", endpoints.sessions),
            Route("/sessions/{session}", endpoints.delete_session, methods=["DELETE"]),
            Route("/metrics", endpoints.metrics),
            Route("/offer", endpoints.offer, methods=["POST"]),
            WebSocketRoute("/events/{session}", endpoints.events),
            WebSocketRoute("/ingest", endpoints.ingest),
            WebSocketRoute("/{nothing:path}", _refuse_websocket),
        ],
        exception_handlers={HTTPException: _describe_http_error},
        lifespan=lifespan,
    )
    guard = Guard(app, options, access, no_token=_NO_TOKEN, count_refusal=hub.metrics.count_refusal)
    return guard if colleagues is None else Router(guard, colleagues)


class Endpoints:
    """The handlers of one hub."""

    def __init__(
        self, hub: Hub, options: ServeOptions, access: Access, colleagues: Colleagues | None
    ) -> None:
        self._hub, self._options, self._access = hub, options, access
        self._colleagues = colleagues
        self._max_sessions = hub.max_sessions
        if colleagues is not None:
            self._max_sessions = colleagues.board.max_sessions
        self._page = {}
        for path, (name, media_type) in _PAGE.items():
            package = "report" if name == _SHARED else "serve"
            file = files(f"affectstream.stream.{package}") / "page" / name
            self._page[path] = (file.read_bytes(), media_type)

    async def page(self, request: Request) -> Response:
        """The page, its style and its scripts."""
        content, media_type = self._page[request.url.path]
        return Response(content, media_type=media_type)

    async def healthz(self, request: Request) -> Response:
        """The process is alive; of several workers, how many are."""
        if self._colleagues is None or passed_on(request.scope):
            return JSONResponse({"ok": True})
        answers = await self._colleagues.gather(request.scope)
        of = len(self._colleagues.board.shares)
        return JSONResponse({"ok": True, "workers": of, "workers_alive": 1 + len(answers)})

    async def readyz(self, request: Request) -> Response:
        """Whether one more session can be opened."""
        if self._hub.closing:
            return refusal(503, "the server is closing")
        full = self._hub.full if self._colleagues is None else self._colleagues.board.full
        if full:
            error = f"all {self._max_sessions} sessions are in use"
            return refusal(503, error, wait_s=_RETRY_S)
        return JSONResponse({"ok": True})

    async def about(self, request: Request) -> Response:
        """What the page needs before a session."""
        bundle = self._hub.recognizer.bundle
        return JSONResponse(
            {
                "bundle": bundle.manifest.name,
                "labels": list(bundle.manifest.labels),
                "modalities": list(bundle.modalities),
                "hop_s": bundle.manifest.hop_us / 1e6,
                "max_sessions": self._max_sessions,
                "recording": self._hub.record is not None,
                "stun": list(self._options.stun),
            }
        )

    async def sessions(self, request: Request) -> Response:
        """All open sessions."""
        if not self._access.reaches_all(request.scope):
            return _admin_only("the list of sessions")
        found = [session.describe() for session in self._hub.sessions.values()]
        if self._colleagues is not None and not passed_on(request.scope):
            found = [{"worker": self._colleagues.number, **one} for one in found]
            for number, body in (await self._colleagues.gather(request.scope)).items():
                found += [{"worker": number, **one} for one in json.loads(body)["sessions"]]
        return JSONResponse({"max_sessions": self._max_sessions, "sessions": found})

    async def delete_session(self, request: Request) -> Response:
        """End a session: its clients get the last events and are disconnected."""
        session = self._hub.sessions.get(request.path_params["session"])
        if session is None:
            return self._no_such_session(request.path_params["session"])
        if not self._access.reaches(request.scope, session):
            return _session_of_another()
        await self._hub.close(session)
        return JSONResponse({"session": session.id, "events": session.event_count})

    async def metrics(self, request: Request) -> Response:
        """Metrics for Prometheus."""
        if not self._access.reaches_all(request.scope):
            return _admin_only("metrics")
        text = self._hub.metrics.text()
        if self._colleagues is not None and not passed_on(request.scope):
            texts = {self._colleagues.number: text, **await self._colleagues.gather(request.scope)}
            decoded = {number: one.decode() for number, one in texts.items()}
            text = merge_metrics(decoded, self._colleagues.board.states).encode()
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    def _no_such_session(self, session_id: str) -> Response:
        if self._colleagues is not None and (reason := self._colleagues.lost(session_id)):
            return refusal(410, reason)
        return refusal(404, "no such session: see GET /sessions")

    async def offer(self, request: Request) -> Response:
        """Open a session for a WebRTC client's offer, and answer it."""
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return refusal(415, "expected content-type: application/json")
        body = await _read_body(request)
        try:
            answer = await webrtc.answer_offer(self._hub, body, self._options.stun)
            return JSONResponse(answer, headers={_SESSION_HEADER: answer["session"]})
        except webrtc.BadOffer as error:
            return refusal(400, str(error))
        except AffectstreamError as error:
            return _refuse_session(error)

    async def events(self, socket: WebSocket) -> None:
        """Send the events of one session; with ``?everything=1`` faces, words and state too."""
        session = self._hub.sessions.get(socket.path_params["session"])
        if session is None:
            denial = self._no_such_session(socket.path_params["session"])
            await socket.send_denial_response(denial)
            return
        if not self._access.reaches(socket.scope, session):
            await socket.send_denial_response(_session_of_another())
            return
        await socket.accept()
        queue = session.subscribers.add(everything=socket.query_params.get("everything") == "1")
        sending = asyncio.create_task(queue.deliver(socket.send_text))
        leaving = asyncio.create_task(_await_disconnect(socket))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            session.subscribers.remove(queue)
            for task in (sending, leaving):
                task.cancel()
            sent, _ = await asyncio.gather(sending, leaving, return_exceptions=True)
        if sent is None:  # the last message too
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await socket.close(1000)

    async def ingest(self, socket: WebSocket) -> None:
        """Open a session for the bytes of a file. It lasts as long as the connection."""
        query = socket.query_params
        format_name = query.get("format", ContainerFormat.WEBM)
        modalities = [m for m in query.get("modalities", "video,voice").split(",") if m]
        try:
            container = ContainerFormat(format_name)
        except ValueError:
            error = f"format {format_name[:40]!r}: expected one of {', '.join(ContainerFormat)}"
            await socket.send_denial_response(refusal(400, error))
            return
        if not _MODALITIES.issuperset(modalities):
            error = f"modalities {','.join(modalities)[:40]!r}: expected video, voice or both"
            await socket.send_denial_response(refusal(400, error))
            return
        try:
            session = self._hub.open("ingest", modalities, query.get("name"))
        except AffectstreamError as unopened:
            await socket.send_denial_response(_refuse_session(unopened))
            return
        try:
            await socket.accept(headers=[(_SESSION_HEADER.encode(), session.id.encode())])
        except BaseException:
            await self._hub.close(session)
            raise
        await upload.serve_upload(
            socket, self._hub, session, container, max_pixels=self._options.max_pixels
        )


def _refuse_session(error: AffectstreamError) -> Response:
    if isinstance(error, Unavailable):
        return refusal(503, str(error), wait_s=_RETRY_S)
    return refusal(422, str(error))


def _session_of_another() -> Response:
    return refusal(403, "this session needs its own secret, or the --admin-token, as the token")


def _admin_only(what: str) -> Response:
    return refusal(403, f"{what}: needs the --admin-token, because this server has several users")


async def _read_body(request: Request) -> bytes:
    """The body. Raises `HTTPException` if it is too long, too slow or breaks off."""
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


async def _refuse_websocket(socket: WebSocket) -> None:
    await socket.send_denial_response(refusal(404, "no WebSocket here: /ingest or /events/SESSION"))


async def _await_disconnect(socket: WebSocket) -> None:
    """Return when the client leaves. What it sends is ignored."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _describe_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(error.status_code, error.detail)
