"""Faults on purpose: each is what it says, and the client has a name for each."""

from __future__ import annotations

import pytest

from agent.core.reasons import Reason
from agent.errors import CompareError, ConfigError
from agent.service.compare_service import CompareService
from agent.service.faults import parse_fault
from tests.service.kit import client, files, post, running, shipped
from tests.service.pictures import photo
from tests.texts import en, zh

OBAMA, PODIUM = photo("obama_portrait"), photo("obama_podium")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("code=107", Reason.COMPARE_FAILED),
        ("code=108", Reason.COMPARE_FAILED),
        ("code=213", Reason.COMPARE_FAILED),
        ("code=15", Reason.COMPARE_BUSY),
        ("code=-1103:1", Reason.FACE_UNUSABLE),
        ("code=-1101:2", Reason.REFERENCE_UNUSABLE),
        ("code=-1403:2", Reason.REFERENCE_UNREACHABLE),
        ("code=-1200", Reason.COMPARE_FAILED),
        ("drop", Reason.COMPARE_UNREACHABLE),
        ("drip", Reason.COMPARE_UNREACHABLE),
        ("truncate", Reason.COMPARE_MALFORMED),
        ("html", Reason.COMPARE_FAILED),
        ("nan", Reason.COMPARE_MALFORMED),
        ("types", Reason.COMPARE_MALFORMED),
        ("latency=5000", Reason.COMPARE_UNREACHABLE),
    ],
)
async def test_the_client_meets_every_injected_fault(fault: str, reason: Reason) -> None:
    service = CompareService(shipped(), faults=(parse_fault(fault),))
    await service.start()
    api = client(service.url)
    with pytest.raises(CompareError) as caught:
        await api.compare(PODIUM, OBAMA, timeout_ms=1_000)
    assert caught.value.code == reason
    await api.close()
    await service.stop()


def test_faults_may_be_rare_or_slow() -> None:
    with running(shipped(), "html@0", "latency=1") as service:
        assert post(service, **files(PODIUM, OBAMA))["code"] == 0


@pytest.mark.parametrize(
    "text", ["", "boom", "code", "code=0", "code=4711", "drop=1", "html@2", "latency", "nan@x"]
)
def test_a_fault_nobody_knows(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_fault(text)


def test_a_code_that_is_none_is_answered_with_those_that_are() -> None:
    with pytest.raises(ConfigError) as unknown:
        parse_fault("code=4711")
    assert (
        "15, " in en(unknown.value.fix)
        and "-1101, " in zh(unknown.value.fix)
        and ".toml" not in en(unknown.value.fix)
    )
