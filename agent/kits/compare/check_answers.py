"""Checks of an answer: its JSON structure, and whether its similarity separates persons."""

from __future__ import annotations

from agent.kits.compare.check_requests import SAME_PERSON, files, pair
from agent.kits.compare.probe import ContractCheck, Differs, NotOffered, Probe, ProbeAnswer

STRANGER_MAX = 70.0  # on the scale of the API page one stranger in a thousand reaches 70
_SESSION_MAX_CHARS = 256


def _check_shape(answer: ProbeAnswer) -> None:
    if answer.status != 200:
        raise Differs(f"HTTP {answer.status}")
    if answer.content_type.partition(";")[0].strip().lower() != "application/json":
        raise Differs(f"Content-Type {answer.content_type or 'missing'}")
    if answer.code is None or answer.tree is None or not isinstance(answer.tree.get("message"), str):
        raise Differs("code is not an integer, or message is not a string")
    if not isinstance(answer.tree.get("data"), dict):
        raise Differs("data is not an object")


async def _success(probe: Probe) -> str:
    answer = await probe.send(pair(probe))
    _check_shape(answer)
    similarity = answer.similarity()
    session = answer.data.get("session_id")
    if not isinstance(session, str) or len(session) > _SESSION_MAX_CHARS:
        raise Differs("data.session_id is not a string")
    if answer.tree is None or answer.tree.get("message") != "OK":
        raise Differs("message is not OK")
    return f"HTTP 200, JSON, similarity {similarity:.1f}"


async def _failure(probe: Probe) -> str:
    answer = await probe.send(files(probe, probe.pictures.no_face, probe.pictures.reference))
    _check_shape(answer)
    if answer.code == 0 or "similarity" in answer.data:
        raise Differs(f"{answer}, with a similarity: {'similarity' in answer.data}")
    return f"HTTP 200, JSON, {answer}"


async def _keep_alive(probe: Probe) -> str:
    await probe.send(pair(probe))
    answer = await probe.send(pair(probe))
    answer.similarity()
    if answer.connected:
        raise NotOffered("each request needs a new connection")
    return "two requests, one connection"


async def _scale(probe: Probe) -> str:
    images = probe.pictures
    answers = [
        await probe.send(files(probe, image, images.reference))
        for image in (images.reference, images.shot, images.stranger, images.third)
    ]
    same, person, *strangers = [answer.similarity() for answer in answers]
    summary = f"same picture {same:.1f}, same person {person:.1f}, others {max(strangers):.1f} at most"
    if not same >= person >= SAME_PERSON > STRANGER_MAX > max(strangers):
        raise Differs(summary)
    return summary


async def _symmetry(probe: Probe) -> str:
    images = probe.pictures
    one = (await probe.send(files(probe, images.shot, images.reference))).similarity()
    other = (await probe.send(files(probe, images.reference, images.shot))).similarity()
    if abs(one - other) > 1.0:
        raise Differs(f"{one:.1f} and {other:.1f} with the sides exchanged")
    return f"{one:.1f} and {other:.1f} with the sides exchanged"


CHECKS = (
    ContractCheck("answer", "shape of a success", _success),
    ContractCheck("answer", "shape of a failure", _failure),
    ContractCheck("answer", "the connection is kept", _keep_alive),
    ContractCheck("answer", "similarity falls from same picture to same person to strangers", _scale),
    ContractCheck("answer", "similarity does not depend on the sides", _symmetry),
)
