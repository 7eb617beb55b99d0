"""A terminal with the provider of 2020 and CompareFace of the embedded service, end to end."""

from __future__ import annotations

from tests.e2e.agents import ENROLLED, Place, running, till_of


async def test_terminal_verifies_with_the_successor(place: Place) -> None:
    config = place.config("one_obama_podium")
    url = place.service.url
    text = config.read_text().replace(
        f'url = "{url}"', f'provider = "compareface_2020"\nurl = "{url.removesuffix("/face/compare")}"'
    )
    config.write_text(text)
    async with running(config), till_of(place) as (till, _):
        verdict = await till.ask(ENROLLED, ttl_ms=20_000)
    assert f"{verdict.decision}/{verdict.reason}" == "match/same_person"
    compare = verdict.result["compare"]
    assert (compare["provider"], compare["threshold"]) == ("compareface_2020", 60)
    assert compare["similarity"] > 60
