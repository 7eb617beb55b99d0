"""The comparison behind every API of the service, with the checks in this order.

1. the header alone (``ServedApi.accept``), 2. queue and memory, before the body, 3. the body, and the header
against the body (``Upload.read``), 4. both images present and downloaded, 5. the recogniser, first image
first. The first failure is the answer. Every answer is HTTP 200, also a failure.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from agent.compare.codes import REFERENCE_FLAG, SHOT_FLAG
from agent.compare.contract import ApiFailure
from agent.log import bounded_facts, facts
from agent.service import forms
from agent.service.auth import Authenticator, limits_of
from agent.service.causes import Cause
from agent.service.download import Downloader
from agent.service.memory_budget import FlightBudget, Lease
from agent.service.recogniser import Recogniser
from agent.service.served_api import Call, ServedApi
from agent.service.settings import ServiceConfig
from agent.service.stats import NO_ACCOUNT, Stats
from agent.service.worker_pool import WorkerPool

log = logging.getLogger(__name__)

_BUSY, _INVALID, _INTERNAL, _NO_IMAGE = 15, 21, 213, -1300
_DRAIN_S = 2.0
# Clients that send the next request at once would otherwise use the CPU time of the comparisons.
_PAUSE_S = 0.25
_PAUSED_CAUSES = (Cause.QUEUE_LENGTH, Cause.QUEUE_TIME)
_CLOSE = {"Connection": "close"}


class CompareApi:
    """The parts that all APIs share: accounts, memory, recognisers, metrics and log.

    The recognisers are loaded and warm, so each connection gets an answer.
    """

    def __init__(self, config: ServiceConfig, recognisers: Sequence[Recogniser], stats: Stats) -> None:
        self.stats = stats
        self.pool = WorkerPool(
            recognisers,
            queue_max=config.queue_max,
            cache_max=config.cache_max,
            answer_within_s=config.answer_within_ms / 1e3,
            waited=stats.queue_wait.observe,
        )
        self.limits = limits_of(config)
        self.authenticator = Authenticator(config.accounts, self.limits)
        self.is_stopping = False
        self._config = config
        self._flight = FlightBudget(config.memory_plan().flight_bytes, recognisers[0].memory.pool)
        self._downloader = Downloader(
            private_hosts=config.download_hosts,
            timeout_ms=config.download_timeout_ms,
            max_bytes=config.body_max_bytes,
        )
        stats.watch("flight_bytes", "Memory of bodies and downloads.", lambda: self._flight.used_bytes)
        stats.watch("queue_depth", "Comparisons that wait for a recogniser.", lambda: self.pool.waiting)
        stats.watch("comparisons_open", "Comparisons that wait or run.", lambda: self.pool.open)
        stats.watch("cache_hits", "Enrolled photos found in the cache.", lambda: self.pool.cache_hits)
        stats.watch("ready", "1 while the service accepts requests.", lambda: float(self.is_ready))

    @property
    def is_ready(self) -> bool:
        """Whether a load balancer may send new requests."""
        return not self.is_stopping and not self.pool.is_stuck()

    async def answer(self, request: Request, served: ServedApi) -> Response:
        """Answer one comparison."""
        call = Call(request)
        try:
            similarity = await self._compare(call, served)
        except ClientDisconnect:
            self.stats.clients_gone.inc()
            return Response(status_code=204)  # not received by any client
        except TimeoutError:
            call.is_drained = False
            return self._refuse(
                call, served, ApiFailure(_INVALID, "the body is too slow", cause=Cause.BODY_SLOW)
            )
        except ApiFailure as failure:
            return self._refuse(call, served, failure)
        except asyncio.CancelledError:  # the time for the stop is over
            call.is_drained = False
            return self._refuse(call, served, ApiFailure(_BUSY, "the service stops", cause=Cause.STOPPING))
        except Exception:
            log.exception("bug_in_service", extra=facts(session=call.session))
            return self._refuse(call, served, ApiFailure(_INTERNAL))
        finally:
            for lease in call.leases:
                lease.release()
        self._record_answer(call, served, 0)
        return Response(served.success(similarity, call.session), media_type="application/json")

    def _refuse(self, call: Call, served: ServedApi, failure: ApiFailure) -> Response:
        if isinstance(failure, forms.BodyTooLarge) and not failure.drained:
            call.is_drained = False
        self.stats.refused(failure)
        failure_facts = {"flag": failure.fail_flag, "cause": failure.cause, "why": str(failure)}
        self._record_answer(call, served, failure.api_code, **failure_facts)
        body = served.failure(failure, call.session)
        return Response(body, media_type="application/json", headers={} if call.is_drained else _CLOSE)

    def _record_answer(self, call: Call, served: ServedApi, code: int, **failure_facts: object) -> None:
        seconds = time.monotonic() - call.begun_s
        self.stats.answered(code, seconds, call.appid)
        # The rate of an account bounds its lines, so a till can quote any session. Lines of other senders
        # are limited for each address.
        make_facts = bounded_facts if call.is_permitted else facts
        values = {"code": code, **failure_facts, "ms": round(seconds * 1e3), "session": call.session}
        names = {"api": served.name, "account": call.appid, "client": call.address}
        log.info("answered", extra=make_facts(**values, **names))

    async def _compare(self, call: Call, served: ServedApi) -> float:
        form = None
        try:
            async with asyncio.timeout(self._config.body_timeout_ms / 1e3):
                form = await self._read_form(call, served)
            async with _WhileConnected(call.request):
                pictures = await self._pictures(call, served, form)
                form = None  # the pool owns both pictures now
                return await self.pool.compare(*pictures, call.begun_s)
        except ApiFailure as failure:
            if failure.cause in _PAUSED_CAUSES:
                await asyncio.sleep(_PAUSE_S)
            raise
        finally:
            if form is not None:
                form.wipe()

    async def _read_form(self, call: Call, served: ServedApi) -> forms.Form:
        chunks = call.request.stream()
        try:
            upload = await served.accept(call)
            self.pool.admit(call.begun_s)
            lease = self._reserve_memory(call, upload.memory_bytes)
        except ApiFailure:
            call.is_drained = False
            if "100-continue" not in call.header("expect").lower():  # it waits for an answer
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_DRAIN_S):
                        # otherwise the client fails before it reads
                        await forms.drain(chunks, served.body_max_bytes)
                        call.is_drained = True
            raise
        form = await upload.read(chunks)
        lease.verify(call.appid)  # the signature can cover the body
        return form

    def _reserve_memory(self, call: Call, size: int) -> Lease:
        is_verified = call.appid != NO_ACCOUNT
        account = call.appid if is_verified else call.claimed
        lease = self._flight.take(size, account=account, address=call.address, is_verified=is_verified)
        call.leases.append(lease)
        return lease

    async def _pictures(self, call: Call, served: ServedApi, form: forms.Form) -> tuple[bytearray, bytearray]:
        shot, reference = form.sides
        first = await self._picture(call, served, shot, SHOT_FLAG)
        return first, await self._picture(call, served, reference, REFERENCE_FLAG)

    async def _picture(self, call: Call, served: ServedApi, side: forms.ImageSide, flag: int) -> bytearray:
        try:
            picture = side.image if side.url is None else await self._download(call, side.url)
            if not picture:
                raise ApiFailure(_NO_IMAGE)
            served.check_picture(picture)
        except ApiFailure as failure:
            raise failure.of_image(flag) from failure
        return picture

    async def _download(self, call: Call, url: str) -> bytearray:
        lease = self._reserve_memory(call, self._config.body_max_bytes)
        picture = await self._downloader.fetch(url)
        lease.shrink(len(picture))
        return picture


class _WhileConnected:
    """Cancel the body, and raise ``ClientDisconnect``, when the client leaves before the end of the body.

    One task for each request. As ``asyncio.timeout``, it distinguishes its cancellation from that of others.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._is_gone = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._watching = asyncio.create_task(self._watch_disconnect())

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._watching.cancel()
        if self._is_gone and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise ClientDisconnect

    async def _watch_disconnect(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True
        self._task.cancel()
