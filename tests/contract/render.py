"""docs/reference/till-contract.md, rendered from config/facepay.asyncapi.yaml.

Run ``python -m tests.contract.render``.
"""

from __future__ import annotations

import json
from pathlib import Path
from string import Template
from typing import Any

from agent.kits.simulator.script import SimulatedFault
from agent.kits.till_conformance.scenarios import SCENARIOS
from agent.texts import texts_below
from agent.till import rate_limits
from tests.contract.validator import document

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "till-contract.md"
TEMPLATE = Path(__file__).parent / "page.md"
Tree = dict[str, Any]


def page() -> str:
    """The whole page."""
    tree = document()
    reason, refusal = (tree["components"]["schemas"][kind] for kind in ("reason", "refusal"))
    parts = {
        "intro": tree["info"]["description"],
        "topics": _topics(tree),
        "duty": _duty(tree),
        "burst": rate_limits.BURST,
        "per_second": f"{rate_limits.PER_S_MIN:g}",
        "per_minute": f"{rate_limits.PER_S_MIN * 60 / rate_limits.MESSAGES_PER_REQUEST:g}",
        "new_burst": rate_limits.NEW_BURST,
        "new_per_second": f"{rate_limits.NEW_PER_S:g}",
        "payloads": "\n".join(_message(tree, name) for name in _plain(tree)),
        "reasons": _codes("Reasons, by responsibility", "responsible", "reason", reason["x-who-acts"]),
        "refusals": _codes(
            "Refusals (events, no result)", "action of the till", "refusal", refusal["x-what-the-till-does"]
        ),
        "durability": _list("Durability", tree["x-durability"]),
        "faults": ", ".join(f"`{fault}`" for fault in SimulatedFault if fault is not SimulatedFault.NONE),
        "scenarios": _scenarios(),
        "versions": _list("What v1 may change", tree["x-versions"]),
    }
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(parts)


def _scenarios() -> str:
    rows = []
    for scenario in SCENARIOS:
        rules = ", ".join(f"`{rule}`" for rule in scenario.breaks if rule)
        rows.append(f"| {scenario.name} | {scenario.words} | {rules} |")
    return "| scenario | action of the kit | rule that a payment breaks |\n|---|---|---|\n" + "\n".join(rows)


def _topics(tree: Tree) -> str:
    rows = []
    for name, channel in tree["channels"].items():
        operation = tree["operations"][f"till.{name}"]
        other = operation["tags"][0]["name"]
        sender = f"{other} → terminal" if operation["action"] == "send" else f"terminal → {other}"
        bindings = operation["bindings"]["mqtt"]
        kept = "yes, last will" if bindings["retain"] else "never"
        topic, qos = _short(channel["address"]), bindings["qos"]
        rows.append(f"| `…{topic}` | {sender} | {qos} | {kept} | {channel['description']} |")
    head = "## Topics\n\n`…` is `facepay/v1/{site}/{terminal}`. Ids are 1 to 64 of `A-Z a-z 0-9 _ -`.\n\n"
    return (
        head
        + "| topic | direction | QoS | retained | content |\n|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def _short(address: str) -> str:
    return address.removeprefix("facepay/v1/{site}/{terminal}")


def _duty(tree: Tree) -> str:
    rows = "\n".join(f"| `{rule}` | {text} |" for rule, text in tree["x-duty"].items())
    return f"## The till's duty\n\n| rule | text |\n|---|---|\n{rows}\n"


def _plain(tree: Tree) -> list[str]:
    """Message names without the signed forms of unsigned messages; some messages are always signed."""
    names = tree["components"]["messages"]
    return [name for name in names if name.removeprefix("signed_") not in names or name[:7] != "signed_"]


def _message(tree: Tree, name: str) -> str:
    message = tree["components"]["messages"][name]
    text = f"### {message['title']}\n\n{message['summary']}\n\n"
    if name.startswith("signed_"):
        kind = name.removeprefix("signed_")
        schema = tree["components"]["schemas"][kind]
        jws = message["examples"][0]["payload"]["jws"]
        beside = "…, " if kind == "state" else ""  # the fields of the text, not signed
        text += f'`{{{beside}"{kind}": "<the JSON text below>", "jws": "{jws[:24]}…"}}`\n\n'
    else:
        schema = tree["components"]["schemas"][_last(message["payload"]["$ref"])]
    if "description" in schema:
        text += schema["description"] + "\n\n"
    text += "| field | | type | |\n|---|---|---|---|\n" + "".join(_fields(tree, schema, ""))
    first, *others = message["examples"]
    return text + _example(first, {}) + "".join(_example(other, _inner(first)) for other in others)


def _fields(tree: Tree, schema: Tree, prefix: str) -> list[str]:
    rows: list[str] = []
    for name, part in schema["properties"].items():
        whole = _resolved(tree, part)
        presence = "always" if name in schema.get("required", []) else "optional"
        text = part.get("description") or whole.get("description", "")
        rows.append(f"| `{prefix}{name}` | {presence} | {_type(whole)} | {' '.join(text.split())} |\n")
        inner = next((choice for choice in (whole, *whole.get("oneOf", [])) if "properties" in choice), None)
        if inner is not None:
            rows += _fields(tree, inner, f"{prefix}{name}.")
    return rows


def _resolved(tree: Tree, part: Tree) -> Tree:
    return tree["components"]["schemas"][_last(part["$ref"])] if "$ref" in part else part


def _last(reference: str) -> str:
    return reference.rsplit("/", 1)[1]


def _type(part: Tree) -> str:
    """A short type for the page; the complete rule is in the contract."""
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return (
            "one of the lists below"
            if len(part["enum"]) > 6
            else " ".join(f"`{value}`" for value in part["enum"])
        )
    if "oneOf" in part and "type" not in part:
        return "uuid or null" if any("$ref" in choice for choice in part["oneOf"]) else "object or null"
    kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
    text = " or ".join(kinds)
    if "minimum" in part or "maximum" in part:
        text += f" {part.get('minimum', '')}–{part.get('maximum', '')}"
    if "maxLength" in part:
        text += f" ≤ {part['maxLength']}"
    return text


def _example(example: Tree, first: Tree) -> str:
    """An example; after the first one of its kind only the fields that differ."""
    inner = {name: value for name, value in _inner(example).items() if first.get(name, ...) != value}
    text = example["summary"] + (" As above, but:" if first else "")
    return f"\n{text}\n\n```json\n{json.dumps(inner, ensure_ascii=False, indent=2)}\n```\n"


def _inner(example: Tree) -> Tree:
    """The payload, or the text inside an envelope."""
    payload: Tree = example["payload"]
    kind = next((kind for kind in ("result", "diag", "report", "state") if kind in payload), None)
    return json.loads(payload[kind]) if kind else payload


def _codes(title: str, group_title: str, kind: str, groups: dict[str, list[str]]) -> str:
    texts = texts_below(kind)
    rows = [f"| {name} | `{code}` | {texts[code]} |" for name, codes in groups.items() for code in codes]
    return f"## {title}\n\n| {group_title} | {kind} | text |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _list(title: str, lines: list[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
