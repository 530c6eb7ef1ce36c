"""Who may ask: the host, origin and token of every request, and what each answer tells a browser.

A page of another server that is open in the same browser must not reach this one: its origin differs.
A name that was pointed at this machine afterwards (DNS rebinding) has the right origin and the wrong
host. Another machine has to show the token.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from affectstream.stream.serve.limits import OPENINGS_A_SECOND, OPENINGS_AT_ONCE, RateLimit
from affectstream.stream.serve.options import LOCAL_NAMES, ServeOptions

OPEN_PATHS = frozenset({"/", "/page.css", "/page.js", "/healthz", "/readyz"})
"""They tell nothing, so they ask for no token: the page has to load before it can be given one."""

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "permissions-policy": "camera=(self), microphone=(self), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def refusal(status: int, error: str, *, wait_s: float | None = None) -> JSONResponse:
    """An answer that says in one line why not, and after how long to ask again."""
    headers = {} if wait_s is None else {"Retry-After": str(max(1, round(wait_s)))}
    return JSONResponse({"error": error}, status, headers)


class Guard:
    """Middleware around the whole application."""

    def __init__(self, app: ASGIApp, options: ServeOptions, refused: Callable[[int], None]) -> None:
        """`refused` is told the status of every answer from 400 on."""
        self._app, self._refused = app, refused
        self._options = options
        self._openings = RateLimit(OPENINGS_A_SECOND, OPENINGS_AT_ONCE)
        proxied = (urlsplit(origin).hostname for origin in options.origins)
        self._hosts = {*LOCAL_NAMES, options.host, *filter(None, proxied)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what may not pass, and pass on the rest."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")

        async def marked(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                if message["status"] >= 400:
                    self._refused(message["status"])
                answer = MutableHeaders(scope=message)
                answer.update(_HEADERS)
                if origin is not None and origin in self._options.origins:
                    answer["access-control-allow-origin"] = origin
                    answer.add_vary_header("Origin")
            await send(message)

        answer = self._answer(scope, headers, origin)
        if answer is None:
            await self._app(scope, receive, marked)
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, marked).send_denial_response(answer)
        else:
            await answer(scope, receive, marked)

    def _answer(self, scope: Scope, headers: Headers, origin: str | None) -> Response | None:
        """The answer to what may not pass; None for what may."""
        host = headers.get("host", "")
        if self._options.loopback and _name(host) not in self._hosts:
            return refusal(400, f"host {host[:80]!r} is not this server's: ask for localhost")
        if origin is not None and not self._may(origin, host):
            return refusal(403, f"origin {origin[:80]!r} may not use this server: see --origin")
        if scope["type"] == "http" and scope["method"] == "OPTIONS" and origin is not None:
            return _preflight()
        if self._options.token is not None and scope["path"] not in OPEN_PATHS:
            given = _given(scope, headers)
            if not hmac.compare_digest(given.encode(), self._options.token.encode()):
                answer = refusal(401, "a token is needed: Authorization: Bearer TOKEN, or ?token=")
                answer.headers["www-authenticate"] = "Bearer"
                return answer
        if scope["path"] in ("/offer", "/ingest"):
            wait_s = self._openings.take(address(scope), time.monotonic())
            if wait_s:
                return refusal(429, "too many new sessions from this address", wait_s=wait_s)
        return None

    def _may(self, origin: str, host: str) -> bool:
        return origin in self._options.origins or origin == f"{self._options.scheme}://{host}"


def address(scope: Scope) -> str:
    """The client's address."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _given(scope: Scope, headers: Headers) -> str:
    """The token that a request shows. A browser can give a WebSocket no header, so a query will do."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    query: bytes = scope["query_string"]
    return parse_qs(query.decode("latin-1")).get("token", [""])[0]


def _preflight() -> Response:
    return Response(
        status_code=204,
        headers={
            "access-control-allow-methods": "GET, POST, DELETE",
            "access-control-allow-headers": "authorization, content-type",
            "access-control-max-age": "600",
        },
    )
