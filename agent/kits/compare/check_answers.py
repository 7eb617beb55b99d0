"""The shape of an answer, and whether its similarity is worth anything."""

from __future__ import annotations

from agent.kits.compare.bodies import RequestBody, image, multipart, text
from agent.kits.compare.check_requests import SAME_PERSON, pair
from agent.kits.compare.probe import ContractCheck, Differs, NotOffered, Probe, ProbeAnswer

STRANGERS = 70.0  # on the page's scale one stranger in a thousand passes here
_SESSION_MAX_CHARS = 256


def _shape(seen: ProbeAnswer) -> None:
    if seen.status != 200:
        raise Differs(f"HTTP {seen.status}")
    if seen.content_type.partition(";")[0].strip().lower() != "application/json":
        raise Differs(f"Content-Type {seen.content_type or 'missing'}")
    if seen.code is None or seen.tree is None or not isinstance(seen.tree.get("message"), str):
        raise Differs("code is no integer, or message no text")
    if not isinstance(seen.tree.get("data"), dict):
        raise Differs("data is no object")


async def _success(probe: Probe) -> str:
    seen = await probe.ask(pair(probe))
    _shape(seen)
    found = seen.similarity()
    session = seen.data.get("session_id")
    if not isinstance(session, str) or len(session) > _SESSION_MAX_CHARS:
        raise Differs("data.session_id is no text")
    if seen.tree is None or seen.tree.get("message") != "OK":
        raise Differs("message is not OK")
    return f"HTTP 200, JSON, similarity {found:.1f}"


async def _failure(probe: Probe) -> str:
    seen = await probe.ask(_question(probe, probe.pictures.nobody, probe.pictures.reference))
    _shape(seen)
    if seen.code == 0 or "similarity" in seen.data:
        raise Differs(f"{seen}, with a similarity: {'similarity' in seen.data}")
    return f"HTTP 200, JSON, {seen}"


async def _kept(probe: Probe) -> str:
    await probe.ask(pair(probe))
    seen = await probe.ask(pair(probe))
    seen.similarity()
    if seen.connected:
        raise NotOffered("each question needs a new connection")
    return "two questions, one connection"


async def _scale(probe: Probe) -> str:
    photos = probe.pictures
    pairs = (
        (photos.reference, photos.reference),
        (photos.shot, photos.reference),
        (photos.stranger, photos.reference),
        (photos.third, photos.reference),
    )
    same, person, *strangers = [(await probe.ask(_question(probe, *two))).similarity() for two in pairs]
    words = f"same picture {same:.1f}, same person {person:.1f}, others {max(strangers):.1f} at most"
    if not same >= person >= SAME_PERSON > STRANGERS > max(strangers):
        raise Differs(words)
    return words


async def _symmetry(probe: Probe) -> str:
    photos = probe.pictures
    one = (await probe.ask(_question(probe, photos.shot, photos.reference))).similarity()
    other = (await probe.ask(_question(probe, photos.reference, photos.shot))).similarity()
    if abs(one - other) > 1.0:
        raise Differs(f"{one:.1f} and {other:.1f} with the sides exchanged")
    return f"{one:.1f} and {other:.1f} with the sides exchanged"


def _question(probe: Probe, first: bytes, second: bytes) -> RequestBody:
    return multipart(text("appid", probe.account.appid), image("imageA", first), image("imageB", second))


CHECKS = (
    ContractCheck("answer", "shape of a success", _success),
    ContractCheck("answer", "shape of a failure", _failure),
    ContractCheck("answer", "the connection is kept", _kept),
    ContractCheck("answer", "similarity falls from same picture to same person to strangers", _scale),
    ContractCheck("answer", "similarity does not depend on the sides", _symmetry),
)
