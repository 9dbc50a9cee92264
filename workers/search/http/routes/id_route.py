"""Routes whose path holds a listing id, which may hold slashes and may end like another route."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from starlette.routing import Match, Route
from starlette.types import Scope


class IdRoute(Route):
    """A route that is chosen by the path as the client wrote it, before `%2F` becomes a slash.

    So `/v1/listings/a%2Fsimilar` is the listing `a/similar`, and `/v1/listings/a/similar` is what is similar to `a`. An
    id whose slashes are not encoded works as well, unless it ends like a route.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See `Route.matches`. The parameters of the path are decoded."""
        raw = scope.get("raw_path")
        if scope["type"] != "http" or not raw:
            return super().matches(scope)
        match, child = super().matches({**scope, "path": raw.partition(b"?")[0].decode("latin-1")})
        found: dict[str, Any] = child.get("path_params", {})
        return match, {**child, "path_params": {name: _decoded(value) for name, value in found.items()}}


def _decoded(value: Any) -> Any:
    return unquote(value) if isinstance(value, str) else value
