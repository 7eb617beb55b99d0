"""Mutated answers over real sockets: the client returns a similarity or raises a named error."""

from __future__ import annotations

import asyncio
import random

import pytest

from agent.compare.face2018_client import Face2018Protocol
from agent.core.reasons import Reason
from agent.errors import CompareError
from tests.compare.servers import SUCCESS, ReceivedRequest, endpoint, http
from tests.compare.test_client import config
from tests.fakes import RealClock

INSERTS = (
    b"\r\n",
    b"\r\n\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\0",
    b"9" * 500,
)


def mutated(dice: random.Random) -> bytes:
    data = bytearray(http(SUCCESS))
    for _ in range(dice.randint(1, 3)):
        at = dice.randint(0, len(data))
        match dice.randint(0, 2):
            case 0:
                data[at : at + 1] = dice.randbytes(1)
            case 1:
                del data[at : at + dice.randint(1, 40)]
            case _:
                data[at:at] = dice.choice(INSERTS)
    return bytes(data)


@pytest.mark.parametrize(("seed", "answers"), [(1, 300), pytest.param(2, 1_200, marks=pytest.mark.long)])
async def test_mutated_answer_is_a_similarity_or_a_named_error(seed: int, answers: int) -> None:
    dice, outcomes = random.Random(seed), list[str]()

    async def anything(_: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(mutated(dice))
        await writer.drain()
        writer.close()
        raise ConnectionError

    async with endpoint(anything) as server:
        wire = Face2018Protocol(config(server.url()), lambda: b"key", RealClock())
        for _ in range(answers):
            try:
                answer = await wire.compare(b"\xff\xd8\xff", b"\xff\xd8\xff", 2_000, lambda: None)
            except CompareError as error:
                assert error.code in {str(reason) for reason in Reason}
                outcomes.append(error.code)
            else:
                assert 0 <= answer.similarity <= 100
                outcomes.append("number")
        await wire.channel.close()
    assert {"number", Reason.COMPARE_MALFORMED, Reason.COMPARE_UNREACHABLE} <= set(outcomes)
