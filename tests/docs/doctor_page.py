"""docs/reference/doctor.md, written from the table of checks: ``python -m tests.docs.doctor_page``."""

from __future__ import annotations

import posixpath
from pathlib import Path

from agent.diagnostics.check import Check
from agent.diagnostics.checks.table import CHECKS
from agent.texts import Text, texts_below
from tests.texts import zh

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = DOCS / "reference" / "doctor.md"

INTRO = """# Checks of `facepay doctor`

This page is generated from the code (`python -m tests.docs.doctor_page`). A test fails when the page is out
of date. The ids of the checks are stable. A check is skipped when a check that it needs failed, so one fault
causes one failure.

While an agent runs, the agent owns the camera and the broker connection. The doctor then reads their status
over the local socket and skips `mqtt.roundtrip`. `camera.focus` and `camera.mounting` analyze one frame of
the agent; both are skipped during a verification. Without a running agent the doctor opens camera and broker
for a few seconds. `api.auth` sends one signed API call without an image. The API checks the signature first
and then rejects the call because the image is missing.

## Output

| verdict | mark | meaning |
|---|---|---|
| `fail` | `✗` | the part does not work; the line is the cause |
| `warn` | `!` | the part works, and an operator must check it |
| `skip` | `-` | the check does not apply here, or a check that it needs failed |
| `pass` | `✓` | no fault found |

The reports have one order, by urgency: failures, warnings, consequences of failures, checks that do not
apply, passed checks. The [diagnostics page](../how-to/page.md) begins with the failures. The command and
`facepay diag ask` print the reverse order, because the end of their output is visible without scrolling: the
failures are last. All checks that were skipped because of one failure are one line. The last line of a
warning or failure is the path of its section below, in the installed documentation; on the page the name of
the check is a link to that section. Within a group the checks have the order of the table below.

`--only api.auth` runs one check and the checks that it needs; `--only api` all checks whose id begins with
`api.`; `--only api,mqtt.connect` both. A failure of a needed check is shown, too.

## Exit code

| code | meaning |
|---|---|
| 0 | each check passed or does not apply |
| 1 | at least one warning, no failure |
| 2 | at least one failure; also wrong usage, e.g. an unknown check (then stdout is empty) |
| 130 | interrupted by Ctrl-C |

## Faults that it does not detect 无法检测的故障

UNDETECTED_ROWS

## JSON

`--json` prints one document on stdout, also with exit code 1 or 2. The names and meanings are stable within
`facepay.doctor/1`; a later version can add fields, so ignore unknown fields. The report of a
[remote diagnosis](../how-to/remote-diagnosis.md) and `/doctor.json` of the page (`rows`, sorted by urgency)
have the same rows.

| field | meaning |
|---|---|
| `schema` | `facepay.doctor/1` |
| `exit` | the exit code: 0, 1 or 2 |
| `checks` | one object for each check that ran or was skipped, in the order of the table below |

Fields of a check:

| field | meaning |
|---|---|
| `id` | the id of the check |
| `title` | the name of the check in English |
| `title_zh` | the name in Chinese |
| `verdict` | `pass`, `warn`, `fail` or `skip` |
| `why` | the reason in English; for a person, not stable |
| `why_zh` | the reason in Chinese; a message of a library is quoted in English |
| `because` | the id of the failed check that caused the skip; otherwise empty |
| `fix` | the action of the operator, in English; empty for `pass` and `skip` |
| `fix_zh` | the action in Chinese |
| `docs` | the section of this page about the check |
| `spent_ms` | duration of the check in milliseconds |

## Checks

| check | what | 中文 | needs |
|---|---|---|---|
"""
UNDETECTED = (
    (
        "fault 故障",
        "what `status` and the doctor report 显示",
        "how to detect it 检测方法",
    ),
    (
        "The broker accepts the subscription and delivers no request, because its rights "
        "are missing (mosquitto with `acl_file`). MQTT 服务器接受订阅，但因权限不足而不转发请求（使用 "
        "`acl_file` 的 mosquitto）。",
        "healthy; `mqtt.roundtrip` names it only while no request has arrived since the "
        "start of the agent 正常；仅在启动以来没有收到请求时由 `mqtt.roundtrip` 提示",
        "`facepay till ask` with the rights of a till 用收银机的权限运行 `facepay till ask`",
    ),
    (
        "The config has another site or terminal than the tills use. 配置中的 site 或 "
        "terminal 与收银机使用的不同。",
        "as above 同上",
        "compare the first line of `facepay status` with the tills 将 `facepay status` "
        "的第一行与收银机的设置比较",
    ),
    (
        "The connection to the broker is silent, e.g. a cable behind a switch. 与 MQTT "
        "服务器的连接中断但无通知，例如交换机后的网线。",
        "connected, for at most twice `mqtt.keepalive_s` 最长两倍 `mqtt.keepalive_s` 内仍显示已连接",
        "run `facepay status` again after 40 s 40 秒后再次运行 `facepay status`",
    ),
    (
        "The signing key was replaced by hand, and the agent was restarted. "
        "签名密钥被手动更换，且服务已重启。",
        "healthy; before the restart `keys.files` fails 正常；重启之前 `keys.files` 报错",
        "`facepay till ask` with `--key` and the key that the tills use "
        "运行 `facepay till ask`，`--key` 指定收银机保存的公钥",
    ),
    (
        "The processor is slow only during a verification. 处理器仅在核验期间过慢。",
        "`verifications_failing` after three verifications without a comparison "
        "三次未完成比对的核验之后显示 `verifications_failing`",
        "`facepay why` shows the number of frames and the time `facepay why` 显示画面数和用时",
    ),
    (
        "The agent has no free file descriptor. 服务没有可用的文件描述符。",
        "`agent_hung`, because it accepts no connection 无法接受连接，因此显示 `agent_hung`",
        "the watchdog of systemd restarts the agent, and `service.state` reports it "
        "systemd 看门狗会重启服务，由 `service.state` 提示",
    ),
)
GUIDES = {
    "config": "how-to/install.md",
    "keys": "how-to/install.md",
    "agent": "reference/conditions.md",
    "service": "reference/systemd.md",
    "model": "how-to/install.md",
    "camera": "how-to/cameras.md",
    "display": "how-to/payer-display.md",
    "sys": "reference/long-life.md",
    "sys.upgrades": "how-to/fleet-operations.md",
    "net": "how-to/five-minutes.md",
    "api": "reference/compare-contract.md",
    "mqtt": "how-to/fleet-operations.md",
    "outbox": "explanation/durability.md",
    "privacy": "reference/privacy.md",
}


def page() -> str:
    """The complete page."""
    rows = (
        f"| [`{each.id}`](#{anchor(each)}) | {each.title} | {zh(each.title)} | {needs(each)} |"
        for each in CHECKS
    )
    head, *others = (f"| {' | '.join(cells)} |" for cells in UNDETECTED)
    undetected = "\n".join([head, "|---|---|---|", *others])
    return (
        INTRO.replace("UNDETECTED_ROWS", undetected) + "\n".join(rows) + "\n" + "".join(map(section, CHECKS))
    )


def anchor(check: Check) -> str:
    return check.docs.partition("#")[2]


def needs(check: Check) -> str:
    return ", ".join(f"`{name}`" for name in check.depends_on)


def section(check: Check) -> str:
    """The section that a finding refers to: the possible reasons in both languages, and a guide."""
    guide = GUIDES.get(check.id) or GUIDES[check.group]
    link = posixpath.relpath(guide, "reference")
    title = next(line for line in (DOCS / guide).read_text().splitlines() if line.startswith("# "))
    reasons = [f"- {text.template('en')} {text.template('zh-CN')}" for text in reasons_of(check)]
    lines = [f"\n### `{check.id}`\n", f"{check.title} {zh(check.title)}. Guide: [{title[2:]}]({link})\n"]
    return "\n".join([*lines, *(["Reasons 原因:\n", *reasons, ""] if reasons else [])])


def reasons_of(check: Check) -> list[Text]:
    return [text for name, text in texts_below("why").items() if name.startswith(f"{check.id}.")]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
