"""The ASGI endpoint, with the checks in this order.

1. the header alone (``Authenticator.admit``), 2. the body (``forms.read_form``), 3. header against body
(``Authenticator.check_target``), 4. both images present and downloaded, 5. the recogniser, first image first.
The first failure is the answer. Every answer of the contract is HTTP 200, also a failure.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.compare.codes import REFERENCE_FLAG, SHOT_FLAG
from agent.compare.contract import PATH, ApiFailure, failure_body, success_body
from agent.log import facts
from agent.service import forms
from agent.service.auth import Authenticator
from agent.service.download import Downloader
from agent.service.recogniser import Recogniser
from agent.service.settings import ServiceConfig
from agent.service.stats import Stats
from agent.service.worker_pool import WorkerPool

log = logging.getLogger(__name__)

_INVALID, _INTERNAL, _NO_IMAGE = 21, 213, -1300
_CLOSE = {"Connection": "close"}


class CompareApi:
    """The endpoint and its parts. The recognisers are loaded and warm, so each connection gets an answer."""

    def __init__(self, config: ServiceConfig, recognisers: Sequence[Recogniser], stats: Stats) -> None:
        self.stats = stats
        self.pool = WorkerPool(recognisers, queue_max=config.queue_max, cache_max=config.cache_max)
        self._config = config
        self._authenticator = Authenticator(config)
        self._downloader = Downloader(
            private_hosts=config.download_hosts,
            timeout_ms=config.download_timeout_ms,
            max_bytes=config.body_max_bytes,
        )

    async def answer(self, request: Request) -> Response:
        """Answer one ``POST /face/compare``."""
        started_s, session = time.monotonic(), uuid.uuid4().hex
        code, headers = 0, dict[str, str]()
        try:
            body = success_body(await self._compare(request), session)
        except ClientDisconnect:
            return Response(status_code=204)  # the client is gone
        except TimeoutError:
            code, body, headers = _INVALID, failure_body(ApiFailure(_INVALID), session), _CLOSE
        except ApiFailure as failure:
            code, body = failure.api_code, failure_body(failure, session)
            if isinstance(failure, forms.BodyTooLarge) and not failure.drained:
                headers = _CLOSE
        except Exception:
            log.exception("bug_in_service", extra=facts(session=session))
            code, body = _INTERNAL, failure_body(ApiFailure(_INTERNAL), session)
        seconds = time.monotonic() - started_s
        self.stats.answered(code, seconds)
        log.info("answered", extra=facts(code=code, ms=round(seconds * 1e3), session=session))
        return Response(body, media_type="application/json", headers=headers)

    async def _compare(self, request: Request) -> float:
        chunks, limit = request.stream(), self._config.body_max_bytes
        async with asyncio.timeout(self._config.body_timeout_ms / 1e3):
            try:
                signed = self._authenticator.admit(request.headers.get("authorization", ""))
            except ApiFailure:
                await forms.drain(chunks, limit)  # otherwise the client fails before it reads
                raise
            form = await forms.read_form(request.headers.get("content-type", ""), chunks, limit)
        self._authenticator.check_target(signed, form.appid, form.bucket)
        first, second = form.sides
        return await self.pool.compare(
            await self._picture(first, SHOT_FLAG), await self._picture(second, REFERENCE_FLAG)
        )

    async def _picture(self, side: forms.ImageSide, flag: int) -> bytes:
        try:
            picture = side.image if side.url is None else await self._downloader.fetch(side.url)
            if not picture:
                raise ApiFailure(_NO_IMAGE)
        except ApiFailure as failure:
            raise ApiFailure(failure.api_code, str(failure), fail_flag=flag) from failure
        return picture

    async def options(self, _request: Request) -> Response:
        """Let a client open its connection in advance, without a paid call."""
        return Response(status_code=204, headers={"Allow": "POST, OPTIONS"})

    async def healthz(self, _request: Request) -> Response:
        return JSONResponse({"ready": True, "open": self.pool.open})

    async def metrics(self, _request: Request) -> Response:
        return Response(self.stats.exposition(), media_type="text/plain; version=0.0.4")


def application(api: CompareApi) -> Starlette:
    return Starlette(
        routes=[
            Route(PATH, api.answer, methods=["POST"]),
            Route(PATH, api.options, methods=["OPTIONS"]),
            Route("/healthz", api.healthz, methods=["GET"]),
            Route("/metrics", api.metrics, methods=["GET"]),
        ]
    )
