"""The chunks of an answer are followed as the parser reads them, and no trailer is accepted."""

from __future__ import annotations

import itertools

import h11
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.answer_body import ChunkedBody, after_head
from agent.compare.exchange import ExchangeConnection, Exchanges, client
from agent.compare.transport import read_capped, trusted_certificates
from tests.compare.servers import ReceivedRequest, endpoint, replies

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EXTENSIONS = st.sampled_from([b"", b" ", b";x=1", b";\r0"])
chunks = st.lists(st.tuples(st.binary(min_size=1, max_size=40), EXTENSIONS), max_size=6)


def in_chunks(parts: list[tuple[bytes, bytes]], trailer: bytes) -> bytes:
    body = b"".join(b"%02X%s\r\n%s\r\n" % (len(data), more, data) for data, more in parts)
    return body + b"00\r\n" + trailer + b"\r\n"


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(each % (len(data) + 1) for each in cuts)})
    return [data[first:last] for first, last in itertools.pairwise(at)]


def parsed(body: bytes) -> bytes:
    """The body as h11 reads it."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    parser.send(h11.EndOfMessage())
    parser.receive_data(HEAD + body)
    found = b""
    while not isinstance(event := parser.next_event(), h11.EndOfMessage):
        found += bytes(event.data) if isinstance(event, h11.Data) else b""
    return found


@given(chunks, st.lists(st.integers(0, 400), max_size=30), st.binary(max_size=9))
def test_any_body_without_a_trailer_is_accepted(
    parts: list[tuple[bytes, bytes]], cuts: list[int], surplus: bytes
) -> None:
    body, chunked = in_chunks(parts, b""), ChunkedBody()
    assert parsed(body) == b"".join(data for data, _ in parts)
    for piece in pieces(body + surplus, cuts):
        chunked.feed(piece)


@given(
    chunks,
    st.lists(st.integers(0, 400), max_size=30),
    st.sampled_from([b"a: b\r\n", b"a:\n", b"a:\r\n b\r\n"]),
)
def test_any_trailer_is_refused(parts: list[tuple[bytes, bytes]], cuts: list[int], trailer: bytes) -> None:
    body, chunked = in_chunks(parts, trailer), ChunkedBody()
    assert parsed(body) == b"".join(data for data, _ in parts), "the parser accepts a trailer"
    with pytest.raises(httpx.RemoteProtocolError, match="trailer"):
        for piece in pieces(body, cuts):
            chunked.feed(piece)


def test_interim_answers_are_part_of_the_head() -> None:
    assert (
        after_head(b"HTTP/1.1 103 Early Hints\r\na: b\r\n\r\nHTTP/1.1 100 x\n\n" + HEAD + b"5\r\n")
        == b"5\r\n"
    )
    for head in (b"", HEAD[:-2], b"HTTP/1.1 100 x\r\n\r\n"):
        with pytest.raises(httpx.RemoteProtocolError):
            after_head(head)


async def test_trailer_after_an_interim_answer_and_one_sent_before_its_request_are_refused() -> None:
    good = HEAD + in_chunks([(b"x", b"")], b"")
    bad = HEAD + in_chunks([(b"x", b"")], b"a: b\r\n")

    async def get(connection: ExchangeConnection) -> bytes | None:
        request = connection.http.build_request("GET", server.url(), extensions={"trace": connection.trace})
        response = await connection.http.send(request, stream=True)
        try:
            return await read_capped(response, 1_000)
        finally:
            await response.aclose()

    for answers in ([b"HTTP/1.1 103 Early Hints\r\n\r\n" + bad], [good + bad]):
        async with endpoint(*map(replies, answers)) as server:
            exchanges = Exchanges(lambda: client(trusted_certificates("http:", None)))
            with pytest.raises(httpx.RemoteProtocolError):
                for _ in range(2):
                    assert await exchanges.run(get, 20) == b"x"
            await exchanges.close()


async def test_next_answer_on_a_connection_is_followed_from_its_own_head() -> None:
    async def play(received: ReceivedRequest, writer: object) -> None:
        length = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n0\r\na: b\r\n"
        await replies(length if len(server.requests) % 2 else HEAD + b"1\r\nx\r\n0\r\n\r\n")(received, writer)  # type: ignore[arg-type]

    async def get(connection: ExchangeConnection) -> bytes:
        request = connection.http.build_request("GET", server.url(), extensions={"trace": connection.trace})
        return (await connection.http.send(request)).content

    async with endpoint(play) as server:
        exchanges = Exchanges(lambda: client(trusted_certificates("http:", None)))
        bodies = [await exchanges.run(get, 20) for _ in range(4)]
        assert bodies == [b"0\r\na: b\r\n", b"x"] * 2 and server.connections == 1
        await exchanges.close()
