"""The documents of the two sides are current, lend no identity, and describe the golden messages."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from referencing import Registry
from referencing.jsonschema import DRAFT7

from tests.contract.golden import payloads
from tests.contract.schema_library import Draft7Validator
from tests.contract.sides import SIDES, path_of, text_of
from tests.contract.validator import document


def tree_of(side: str) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    tree: dict[str, Any] = yaml.load(path_of(side).read_text(encoding="utf-8"), Loader=loader)
    return tree


@pytest.mark.parametrize("side", SIDES)
def test_the_document_is_current(side: str) -> None:
    assert path_of(side).read_text(encoding="utf-8") == text_of(side), "run: python -m tests.contract.sides"


def test_the_document_of_the_till_lends_no_identity() -> None:
    mqtt = tree_of("till")["servers"]["broker"]["bindings"]["mqtt"]
    assert not {"clientId", "lastWill"} & set(mqtt)
    assert {"clientId", "lastWill"} <= set(tree_of("terminal")["servers"]["broker"]["bindings"]["mqtt"])


def test_the_operations_of_both_sides_are_opposite() -> None:
    till, terminal = (tree_of(side)["operations"] for side in ("till", "terminal"))
    assert set(till) == set(terminal)
    for name in set(till) - {"contents"}:
        assert {till[name]["action"], terminal[name]["action"]} == {"send", "receive"}, name


@pytest.mark.parametrize("side", SIDES)
def test_each_message_of_the_contract_fits_its_named_schema(side: str) -> None:
    tree = tree_of(side)
    registry: Registry[Any] = Registry().with_resource("urn:side", DRAFT7.create_resource(tree))
    checked = 0
    for message in tree["components"]["messages"].values():
        validator = Draft7Validator({"$ref": f"urn:side{message['payload']['$ref']}"}, registry=registry)
        for example in message.get("examples", []):
            validator.validate(example["payload"])
            checked += 1
    assert (
        checked
        == len(payloads())
        == sum(len(message["examples"]) for message in document()["components"]["messages"].values())
    )
