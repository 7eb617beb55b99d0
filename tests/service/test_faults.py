"""Fault injection: the client reports each injected fault as a named error."""

from __future__ import annotations

import pytest

from agent.core.reasons import Reason
from agent.errors import CompareError, ConfigError
from agent.service.compare_service import CompareService
from agent.service.faults import parse_fault
from tests.service.kit import client, files, post, running, slow_machine_config
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
async def test_injected_fault_is_a_named_error_of_the_client(fault: str, reason: Reason) -> None:
    service = CompareService(slow_machine_config(), faults=(parse_fault(fault),))
    await service.start()
    api = client(service.url)
    with pytest.raises(CompareError) as caught:
        await api.compare(PODIUM, OBAMA, timeout_ms=1_000)
    assert caught.value.code == reason
    await api.close()
    await service.stop()


def test_fault_with_rate_0_and_short_latency_have_no_effect() -> None:
    with running(slow_machine_config(), "html@0", "latency=1") as service:
        assert post(service, **files(PODIUM, OBAMA))["code"] == 0


@pytest.mark.parametrize(
    "text", ["", "boom", "code", "code=0", "code=4711", "drop=1", "html@2", "latency", "nan@x"]
)
def test_unknown_fault_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_fault(text)


def test_refusal_of_an_unknown_code_lists_the_known_codes() -> None:
    with pytest.raises(ConfigError) as unknown:
        parse_fault("code=4711")
    assert (
        "15, " in en(unknown.value.fix)
        and "-1101, " in zh(unknown.value.fix)
        and ".toml" not in en(unknown.value.fix)
    )
