"""docs/conditions.md and README's table of troubles: ``python -m tests.docs.conditions_page``."""

from __future__ import annotations

from pathlib import Path

from agent.core.reasons import Reason
from agent.health.conditions import CONDITIONS, PARTS, Condition
from agent.texts import beside, group
from tests.texts import zh

ROOT = Path(__file__).parent.parent.parent
PAGE, README = ROOT / "docs" / "conditions.md", ROOT / "README.md"
BEGIN, END = "<!-- from the code: python -m tests.docs.conditions_page -->\n", "<!-- end -->"

INTRO = """# What can be wrong with a terminal: symptom, cause, fix

Written from the code (`python -m tests.docs.conditions_page`); a test fails when it is out of date.

A condition is something that is wrong for longer than one request. The same codes stand in the terminal's
retained `state`, in `facepay status`, in `facepay doctor` (`agent.conditions`) and on the diagnostics page.

`error`: the terminal cannot serve until it heals or is mended · `warning`: it serves, but somebody should
look. A condition *behind* another is shown as its consequence while that one holds: mend the cause. One
with a time is shown only when it has lasted so long. Each clears itself when the cause is gone, those of the
compare service with the next answered question; `outbox_reset` stays until the next start.

终端异常状态一览：现象、原因、处理方法。
同一代码会出现在终端的 `state`、`facepay status`、`facepay doctor` 和诊断页面中。
"""
TITLES = {
    "camera": "Camera 摄像头",
    "compare": "Compare service 比对服务",
    "mqtt": "Broker MQTT 服务器",
    "board": "The terminal itself 终端本机",
}


def page() -> str:
    """docs/conditions.md, the whole page."""
    parts = (
        f"\n## {TITLES[part]}\n" + "".join(_section(row) for row in rows) for part, rows in PARTS.items()
    )
    return INTRO + "".join(parts)


def _section(row: Condition) -> str:
    behind = " or ".join(f"`{code}`" for code in row.depends_on)
    facts = [row.severity.value]
    facts += [f"behind {behind}"] if behind else []
    facts += [f"shown after {row.visible_after_ms / 1e3:g} s"] if row.visible_after_ms else []
    lines = [
        f"\n### `{row.code}`\n",
        f"{', '.join(facts)}\n",
        f"- **Symptom 现象:** {row.title}. {zh(row.title)}。",
    ]
    if row.code in set(Reason):
        lines += [f"- **The cashier reads 收银台提示:** {beside(group('reason')[row.code])}"]
    return "\n".join(
        [
            *lines,
            f"- **Cause 原因:** {row.cause} {zh(row.cause)}",
            f"- **Fix 处理:** {row.fix} {zh(row.fix)}\n",
        ]
    )


def table() -> str:
    """README's block, markers included."""
    rows = (
        f"| {row.title} | [`{row.code}`](docs/conditions.md#{row.code}) | {row.fix} |"
        for row in CONDITIONS.values()
    )
    head = "| what is seen | condition | what to do |\n|---|---|---|\n"
    return BEGIN + head + "\n".join(rows) + "\n" + END


def with_table(text: str) -> str:
    """README with the current block. Raises ``ValueError`` when it has lost its markers."""
    before, after = text.index(BEGIN), text.index(END)
    return text[:before] + table() + text[after + len(END) :]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
