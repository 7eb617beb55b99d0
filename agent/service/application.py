"""The ASGI application: the endpoints of the APIs, and the endpoints of the operator."""

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.compare.contract import PATH
from agent.service.endpoint import CompareApi
from agent.service.served_api import ServedApi

_OK, _NO_CONTENT, _NOT_ALLOWED, _UNAVAILABLE = 200, 204, 405, 503


def application(api: CompareApi, by_path: Mapping[str, ServedApi]) -> ASGIApp:
    """Serve each API at its path, without the routes and the middleware of Starlette."""
    app = Starlette(routes=_operator_routes(api))
    app.router.redirect_slashes = False  # a redirect would lose the body of a POST

    async def any_target(scope: Scope, receive: Receive, send: Send) -> None:
        """Accept the absolute form of a request target (RFC 9112, 3.2.2) and a final slash."""
        path = scope.get("path", "")
        scheme, separator, rest = path.partition("://")
        if separator and scheme.lower() in ("http", "https"):
            path = "/" + rest.partition("/")[2]
        if path == PATH + "/":
            path = PATH
        served = by_path.get(path)
        if served is None:
            await app({**scope, "path": path}, receive, send)
            return
        request = Request(scope, receive, send)
        if request.method == "POST":
            response = await api.answer(request, served)
        else:  # OPTIONS lets a client open its connection in advance, without a paid call
            status = _NO_CONTENT if request.method == "OPTIONS" else _NOT_ALLOWED
            response = Response(status_code=status, headers={"Allow": "POST, OPTIONS"})
        await response(scope, receive, send)

    return any_target


def _operator_routes(api: CompareApi) -> list[Route]:
    """The routes for a supervisor, a load balancer and Prometheus."""

    async def healthz(_request: Request) -> Response:
        """Whether the process works; 503 means that only a restart helps."""
        alive = not api.pool.is_stuck()
        body = {"alive": alive, "ready": api.is_ready, "open": api.pool.open}
        return JSONResponse(body, status_code=_OK if alive else _UNAVAILABLE)

    async def readyz(_request: Request) -> Response:
        """Whether a load balancer may send new requests; 503 from the first moment of a stop."""
        return JSONResponse({"ready": api.is_ready}, status_code=_OK if api.is_ready else _UNAVAILABLE)

    async def metrics(_request: Request) -> Response:
        return Response(api.stats.exposition(), media_type="text/plain; version=0.0.4")

    pages = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}
    return [Route(path, page, methods=["GET"]) for path, page in pages.items()]
