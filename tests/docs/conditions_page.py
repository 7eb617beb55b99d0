"""docs/reference/conditions.md, from the conditions: ``python -m tests.docs.conditions_page``."""

from __future__ import annotations

from pathlib import Path

from agent.core.reasons import Reason
from agent.health.conditions import CONDITIONS, PARTS, Condition
from agent.texts import on_one_line, texts_below
from tests.texts import zh

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "reference" / "conditions.md"

INTRO = """# Conditions: symptom, cause, fix

This page is generated from the code (`python -m tests.docs.conditions_page`). A test fails when the page is
out of date.

A condition is a fault that lasts longer than one request. The same codes appear in the retained `state` of
the terminal, in `facepay status`, in `facepay doctor` (`agent.conditions`) and on the diagnostics page.

- `error`: the terminal cannot serve requests until the condition clears. `warning`: the terminal serves
  requests, and an operator must check the cause.
- A condition *behind* another condition is a consequence. The consequence is hidden while the cause is
  active. Fix the cause.
- A condition with a delay is shown only after the condition has lasted for that time.
- A condition clears when its cause is gone. A condition of the compare service clears with the next
  successful API call. `outbox_reset` stays until the next start.

终端异常状态一览：现象、原因、处理方法。
同一代码会出现在终端的 `state`、`facepay status`、`facepay doctor` 和诊断页面中。
"""
TITLES = {
    "camera": "Camera 摄像头",
    "compare": "Compare service 比对服务",
    "mqtt": "Broker MQTT 服务器",
    "till": "Tills 收银机",
    "board": "Terminal 终端本机",
}


def page() -> str:
    """The complete page docs/reference/conditions.md."""
    parts = (
        f"\n## {TITLES[part]}\n" + "".join(_section(row) for row in rows) for part, rows in PARTS.items()
    )
    return INTRO + table() + "".join(parts)


def _section(row: Condition) -> str:
    behind = " or ".join(f"`{cause.code}`" for cause in row.depends_on)
    facts = [row.severity.value]
    facts += [f"behind {behind}"] if behind else []
    facts += [f"shown after {row.visible_after_ms / 1e3:g} s"] if row.visible_after_ms else []
    lines = [
        f"\n### `{row.code}`\n",
        f"{', '.join(facts)}\n",
        f"- **Symptom 现象:** {row.title}. {zh(row.title)}。",
    ]
    if row.code in set(Reason):
        lines += [f"- **The cashier reads 收银台提示:** {on_one_line(texts_below('reason')[row.code])}"]
    return "\n".join(
        [
            *lines,
            f"- **Cause 原因:** {row.cause} {zh(row.cause)}",
            f"- **Fix 处理:** {row.fix} {zh(row.fix)}\n",
        ]
    )


def table() -> str:
    """The overview: one row for each condition, with a link to its section on the same page."""
    rows = (f"| {row.title} | [`{row.code}`](#{row.code}) | {row.fix} |" for row in CONDITIONS.values())
    head = "\n## Overview 一览\n\n| symptom | condition | fix |\n|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
