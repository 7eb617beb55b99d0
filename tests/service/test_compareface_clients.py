"""CompareFace of the embedded service with the provider's SDK, unchanged, and the client of the terminal."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import pytest
from tencentcloud.common import credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.iai.v20200303 import iai_client, models

from agent.compare.compareface import CompareFace2020
from agent.config import CompareConfig
from agent.core.reasons import Reason
from agent.errors import CompareError
from agent.kits.compare.images import Pictures, served
from agent.service.compare_service import CompareService
from agent.service.faults import parse_fault
from agent.service.settings import EXAMPLE_SECRET
from tests.fakes import RealClock
from tests.service.compareface_kit import base_url
from tests.service.kit import SECRET_ID, running, slow_machine_config
from tests.service.pictures import photo, plain
from tests.service.test_worker_pool import FakeRecogniser

# the SDK uses a function that Python 3.12 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")

SHOT, PHOTO, OTHER = photo("obama_podium"), photo("obama_portrait"), photo("biden_portrait")


@pytest.fixture(scope="module")
def service() -> Iterator[CompareService]:
    with running(slow_machine_config(download_hosts=("localhost",))) as made:
        yield made


def sdk(service: CompareService, *, key: bytes = EXAMPLE_SECRET, region: str = "") -> Any:
    profile = HttpProfile(protocol="http", endpoint=base_url(service).removeprefix("http://"))
    ids = credential.Credential(SECRET_ID, key.decode())
    return iai_client.IaiClient(ids, region, ClientProfile(httpProfile=profile))


async def compare(client: Any, **fields: object) -> Any:
    wanted = models.CompareFaceRequest()
    for name, value in fields.items():
        setattr(wanted, name, base64.b64encode(value).decode() if isinstance(value, bytes) else value)
    return await asyncio.to_thread(client.CompareFace, wanted)


@pytest.mark.parametrize("region", ["", "ap-guangzhou"])
@pytest.mark.parametrize("first", ["bytes", "url"])
@pytest.mark.parametrize("second", ["bytes", "url"])
async def test_official_sdk_gets_a_score(
    service: CompareService, first: str, second: str, region: str
) -> None:
    async with served(Pictures.shipped()) as base:
        sides = {
            **({"ImageA": SHOT} if first == "bytes" else {"UrlA": f"{base}/shot"}),
            **({"ImageB": PHOTO} if second == "bytes" else {"UrlB": f"{base}/reference"}),
        }
        answer = await compare(sdk(service, region=region), **sides)
    assert answer.Score > 60 and answer.FaceModelVersion == "3.0" and len(answer.RequestId) == 32


async def test_official_sdk_accepts_every_parameter(service: CompareService) -> None:
    answer = await compare(
        sdk(service),
        ImageA=OTHER,
        ImageB=PHOTO,
        FaceModelVersion="3.0",
        QualityControl=2,
        NeedRotateDetection=0,
        FaceMatchingStrategy=1,
    )
    assert answer.Score < 40


@pytest.mark.parametrize(
    ("key", "fields", "code"),
    [
        (b"guessed", {"ImageA": SHOT, "ImageB": PHOTO}, "AuthFailure.SignatureFailure"),
        (EXAMPLE_SECRET, {"ImageA": plain(300, 300), "ImageB": PHOTO}, "InvalidParameterValue.NoFaceInPhoto"),
        (EXAMPLE_SECRET, {"ImageA": SHOT}, "InvalidParameterValue.ImageEmpty"),
        (EXAMPLE_SECRET, {"UrlA": "http://10.0.0.1/", "ImageB": PHOTO}, "FailedOperation.ImageDownloadError"),
    ],
)
async def test_official_sdk_raises_the_error_code(
    service: CompareService, key: bytes, fields: dict[str, object], code: str
) -> None:
    with pytest.raises(TencentCloudSDKException) as caught:
        await compare(sdk(service, key=key), **fields)
    assert caught.value.get_code() == code and len(caught.value.get_request_id()) == 32


def client(service: CompareService) -> CompareFace2020:
    config = CompareConfig.model_validate(
        {"provider": "compareface_2020", "url": base_url(service), "secret_id": SECRET_ID}
    )
    return CompareFace2020(config, EXAMPLE_SECRET, RealClock(), profile="demo")


async def test_client_of_the_terminal_gets_a_score_and_named_errors(service: CompareService) -> None:
    api = client(service)
    try:
        same, other = [await api.compare(each, PHOTO, timeout_ms=20_000) for each in (SHOT, OTHER)]
        assert same.similarity > same.threshold == 60
        assert other.similarity < 40
        with pytest.raises(CompareError) as caught:
            await api.compare(plain(300, 300), PHOTO, timeout_ms=20_000)
        assert caught.value.code == Reason.FACE_UNUSABLE
    finally:
        await api.close()


@pytest.mark.parametrize(
    ("fault", "reason"), [("code=15", Reason.COMPARE_BUSY), ("nan", Reason.COMPARE_MALFORMED)]
)
async def test_injected_fault_reaches_the_client_in_its_api(fault: str, reason: Reason) -> None:
    faulty = CompareService(slow_machine_config(), faults=(parse_fault(fault),))
    faulty._recognisers = (FakeRecogniser(),)
    await faulty.start()
    api = client(faulty)
    try:
        with pytest.raises(CompareError) as caught:
            await api.compare(SHOT, PHOTO, timeout_ms=20_000)
    finally:
        await api.close()
        await faulty.stop()
    assert caught.value.code == reason
