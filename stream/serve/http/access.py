"""Who may do what on a server with a token.

- The token opens sessions.
- The secret of a session, which only the client that opened it gets, reaches this session: its events, and
  its end. Whoever gets it from that client needs no token.
- The admin token reaches every session, the list of them, and the metrics.

A server without any token listens on this machine only, and shows every session to every client.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import Scope

from affectstream.stream.serve.options import ServeOptions
from affectstream.stream.serve.session import ServedSession

_OF_ONE_SESSION = ("/sessions/", "/events/")


class Access:
    """Decides by the token or secret that a client shows: ``Authorization: Bearer ...`` or ``?token=...``."""

    def __init__(
        self,
        options: ServeOptions,
        sessions: Mapping[str, ServedSession],
        *,
        is_lost: Callable[[str], bool] = lambda session_id: False,
    ) -> None:
        """`sessions` are those that are open, by their id. A session that `is_lost` has no secret any more:
        whoever asks for it learns that."""
        self._is_lost = is_lost
        self._token, self._admin_token = options.token, options.admin_token
        self._sessions = sessions

    def may_enter(self, scope: Scope) -> bool:
        """Whether a request is from a client of this server. It may still not reach a session."""
        if self._token is None or self._shows(scope, self._token) or self._is_admin(scope):
            return True
        if not scope["path"].startswith(_OF_ONE_SESSION):
            return False
        secrets = [session.secret for session in self._sessions.values()]
        return self._is_lost(scope["path"].split("/")[2]) or any(
            self._shows(scope, secret) for secret in secrets
        )

    def reaches_all(self, scope: Scope) -> bool:
        """Whether this client may reach every session, and the metrics."""
        open_to_all = self._token is None and self._admin_token is None
        return open_to_all or self._is_admin(scope)

    def reaches(self, scope: Scope, session: ServedSession) -> bool:
        """Whether this client may receive the events of a session, and end it."""
        return self.reaches_all(scope) or self._shows(scope, session.secret)

    def _is_admin(self, scope: Scope) -> bool:
        return self._admin_token is not None and self._shows(scope, self._admin_token)

    def _shows(self, scope: Scope, expected: str) -> bool:
        return hmac.compare_digest(_shown(scope).encode(), expected.encode())


def _shown(scope: Scope) -> str:
    """The token or secret of a request. A browser's WebSocket sets no header, so it may be in the query."""
    scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    query: bytes = scope["query_string"]
    return parse_qs(query.decode("latin-1")).get("token", [""])[0]
