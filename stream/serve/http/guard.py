"""Checks the host, origin and token of every request, and adds security headers to every answer.

A page of another site, open in the same browser, must not reach this server: its origin differs. A host
name that was pointed to this machine later (DNS rebinding) has the right origin and the wrong host.
Other machines have to show the token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from affectstream.stream.serve.http.access import Access
from affectstream.stream.serve.limits import OPENINGS_BURST, OPENINGS_PER_S, RateLimit
from affectstream.stream.serve.options import LOCAL_NAMES, ServeOptions

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
    """An answer with the reason in one line, and with ``Retry-After`` if `wait_s` is given."""
    headers = {} if wait_s is None else {"Retry-After": str(max(1, round(wait_s)))}
    return JSONResponse({"error": error}, status, headers)


class Guard:
    """Middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        options: ServeOptions,
        access: Access,
        *,
        no_token: Collection[str],
        count_refusal: Callable[[int], None],
    ) -> None:
        """The paths in `no_token` need none; `count_refusal` gets the status of answers from 400 on."""
        self._app, self._no_token, self._count_refusal = app, no_token, count_refusal
        self._options, self._access = options, access
        self._openings = RateLimit(OPENINGS_PER_S, OPENINGS_BURST)
        proxied = (urlsplit(origin).hostname for origin in options.origins)
        self._proxies = [ip_network(proxy) for proxy in options.proxies]
        self._hosts = {*LOCAL_NAMES, options.host, *filter(None, proxied)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                if message["status"] >= 400:
                    self._count_refusal(message["status"])
                added = MutableHeaders(scope=message)
                added.update(_HEADERS)
                if origin is not None and origin in self._options.origins:
                    added["access-control-allow-origin"] = origin
                    added.add_vary_header("Origin")
            await send(message)

        answer = self._check(scope, headers, origin)
        if answer is None:
            await self._app(scope, receive, send_with_headers)
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send_with_headers).send_denial_response(answer)
        else:
            await answer(scope, receive, send_with_headers)

    def _check(self, scope: Scope, headers: Headers, origin: str | None) -> Response | None:
        """The answer to a request that may not pass; None if it may."""
        host = headers.get("host", "")
        if self._options.loopback and _host_name(host) not in self._hosts:
            return refusal(400, f"host {host[:80]!r} is not this server: use localhost")
        if origin is not None and not self._is_allowed(origin, host):
            return refusal(403, f"origin {origin[:80]!r} may not use this server: see --origin")
        if scope["type"] == "http" and scope["method"] == "OPTIONS" and origin is not None:
            return _preflight()
        if scope["path"] not in self._no_token and not self._access.may_enter(scope):
            answer = refusal(401, "a token is required: Authorization: Bearer TOKEN, or ?token=")
            answer.headers["www-authenticate"] = "Bearer"
            return answer
        if scope["path"] in ("/offer", "/ingest"):
            wait_s = self._openings.take(self._client_address(scope, headers), time.monotonic())
            if wait_s:
                return refusal(429, "too many new sessions from this address", wait_s=wait_s)
        return None

    def _client_address(self, scope: Scope, headers: Headers) -> str:
        """Of the client itself, if a known proxy names it."""
        address = str(scope["client"][0]) if scope.get("client") else ""
        named = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        return named if named and self._is_proxy(address) else address

    def _is_proxy(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._proxies)

    def _is_allowed(self, origin: str, host: str) -> bool:
        return origin in self._options.origins or origin == f"{self._options.scheme}://{host}"


def _host_name(host: str) -> str:
    """A Host header without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _preflight() -> Response:
    return Response(
        status_code=204,
        headers={
            "access-control-allow-methods": "GET, POST, DELETE",
            "access-control-allow-headers": "authorization, content-type",
            "access-control-max-age": "600",
        },
    )
