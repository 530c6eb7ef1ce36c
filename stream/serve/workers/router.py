"""Passes requests to the worker that they are for; the application of this worker answers all others."""

from __future__ import annotations

import contextlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from affectstream.stream.serve.workers.colleagues import Colleagues
from affectstream.stream.serve.workers.tunnel import HOPS, Broken

_ENDED = "the worker that served this session ended unexpectedly: open a new session"
_OPENING = ("/offer", "/ingest")
_ABOUT_A_SESSION = ("/sessions/", "/events/")


class Router:
    """Middleware around the whole application, its `Guard` included: the worker that answers checks."""

    def __init__(self, app: ASGIApp, colleagues: Colleagues) -> None:
        self._app, self._colleagues = app, colleagues

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request here or elsewhere."""
        path = scope.get("path", "")
        if path in _OPENING:
            await self._open(scope, receive, send)
        elif path.startswith(_ABOUT_A_SESSION):
            owner = self._colleagues.owner(path.split("/")[2])
            await self._pass(owner, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = self._colleagues.for_new_session(
            upload=scope["path"] == "/ingest", hops=scope.get(HOPS, 0)
        )
        with contextlib.ExitStack() as opening:
            opening.enter_context(self._colleagues.opening(target or self._colleagues.number))

            async def send_opened(message: Message) -> None:
                opening.close()  # from the first answer on the board counts it
                await send(message)

            await self._pass(target, scope, receive, send_opened)

    async def _pass(self, target: int | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Let worker `target` answer; this one does if that is None, or has just ended."""
        tunnel = None
        if target is not None:
            with contextlib.suppress(OSError):
                tunnel = await self._colleagues.connect(target)
        if tunnel is None:
            await self._app(scope, receive, send)
            return
        started = closed = False

        async def send_on(message: Message) -> None:
            nonlocal started, closed
            started, closed = True, message["type"] == "websocket.close"
            await send(message)

        try:
            await tunnel.forward(scope, receive, send_on)
        except Broken:
            if not started:
                await self._app(scope, receive, send)
            elif scope["type"] == "websocket" and not closed:
                await send({"type": "websocket.close", "code": 1011, "reason": _ENDED})
