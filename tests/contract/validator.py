"""Validation of payloads against the schemas of config/facepay.asyncapi.yaml.

``assert_valid(topic, payload)`` finds the message kinds of a topic and checks the payload, in a signed
envelope also the signed text. ``exact`` (the default) also refuses a field that the contract does not define:
a sent field must be documented, though a receiver ignores unknown fields.
"""

from __future__ import annotations

import copy
import re
from functools import cache
from typing import Any

import yaml
from referencing import Registry
from referencing.jsonschema import DRAFT7

from agent.core import strict_json
from agent.resources import config_file
from tests.contract.schema_library import Draft7Validator, ValidationError, best_match

_DOCUMENT = "urn:facepay:contract"
_ID = r"[A-Za-z0-9_-]{1,64}"


@cache
def document() -> dict[str, Any]:
    """The whole contract."""
    text = config_file("facepay.asyncapi.yaml").read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml needs a tenth of the time
    tree: dict[str, Any] = yaml.load(text, Loader=loader)
    return tree


def channel_of(topic: str) -> str:
    """The name of the channel of a topic. Fails when the contract has none."""
    for name, channel in document()["channels"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", _ID, channel["address"]), topic):
            return str(name)
    raise AssertionError(f"the contract has no topic {topic!r}")


def assert_valid(topic: str, payload: bytes, *, exact: bool = True) -> str:
    """The name of the message of this payload. Fails with place and rule for an invalid payload."""
    channel = channel_of(topic)
    names = list(document()["channels"][channel]["messages"])
    tree = _object(topic, payload)
    name = _message_of(tree, names)
    assert name is not None, f"{topic}: none of {names}: {payload[:300]!r}"
    schema = document()["components"]["messages"][name]["payload"]["$ref"].rsplit("/", 1)[1]
    _check(topic, tree, schema, exact)
    if "jws" in tree:
        kind = name.removeprefix("signed_")
        inner = document()["components"]["schemas"][schema]["properties"][kind]["x-content"]["$ref"]
        _check(topic, _object(topic, tree[kind].encode()), inner.rsplit("/", 1)[1], exact)
    return name


def errors(tree: object, schema: str, *, exact: bool = True) -> list[ValidationError]:
    """The violations of a schema of the contract by an object."""
    return list(_validator(schema, exact).iter_errors(tree))


def _message_of(tree: dict[str, Any], names: list[str]) -> str | None:
    if "event" in tree:
        return str(tree["event"]) if tree["event"] in names else None
    fitting = [name for name in names if name.startswith("signed_") == ("jws" in tree)]
    return fitting[0] if fitting else None


def _check(topic: str, tree: object, schema: str, exact: bool) -> None:
    worst = best_match(errors(tree, schema, exact=exact))
    if worst is not None:
        place = "/".join(str(part) for part in worst.absolute_path) or "(top)"
        raise AssertionError(f"{topic}: {schema}: {place}: {worst.message}")


def _object(topic: str, raw: bytes) -> dict[str, Any]:
    tree = strict_json.loads(raw)
    assert isinstance(tree, dict), f"{topic}: no JSON object"
    return tree


@cache
def _validator(schema: str, exact: bool) -> Draft7Validator:
    tree = _closed(document()) if exact else document()
    registry: Registry[Any] = Registry().with_resource(_DOCUMENT, DRAFT7.create_resource(tree))
    return Draft7Validator({"$ref": f"{_DOCUMENT}#/components/schemas/{schema}"}, registry=registry)


def _closed(tree: dict[str, Any]) -> dict[str, Any]:
    """A copy whose objects allow defined fields only; alternatives only narrow the fields beside them."""
    tree = copy.deepcopy(tree)
    for schema in tree["components"]["schemas"].values():
        _close(schema)
        for part in schema.get("properties", {}).values():
            _close(part)
        if "properties" not in schema:
            for part in schema.get("oneOf", []):
                _close(part)
    return tree


def _close(schema: dict[str, Any]) -> None:
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
