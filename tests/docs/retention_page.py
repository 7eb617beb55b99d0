"""docs/how-to/operating/retention.md, from the defaults: ``python -m tests.docs.retention_page``."""

from __future__ import annotations

from pathlib import Path

from agent.config import Config
from agent.service.settings import ServiceConfig

PAGE = Path(__file__).parent.parent.parent / "docs" / "how-to" / "operating" / "retention.md"

INTRO = """# Retention of data 保存期限

This page is generated from the default values of the code (`python -m tests.docs.retention_page`). A test
fails when the page is out of date. `facepay config show` prints the values of your config. `sudo facepay
privacy-audit` lists the files on a terminal. [Data at rest](../../reference/privacy.md) describes each
file.

| what 数据 | of whom | where | how long 期限 | set by |
|---|---|---|---|---|
"""

OUTRO = """
The product does not control these data. The operator must complete the table:

| what | where | how long |
|---|---|---|
| the crop and the enrolled photo of each API call | the compare API's provider | ____ (contract) |
| the enrolled photo at its source | your enrolment system | ____ |
| messages, if the broker stores them, an inline photo with its request | the MQTT broker | \
____ (config/mosquitto may: leave `inline_reference` off) |
| results, with ids of sale and request | the till and its back office | ____ |
| health and state messages | every subscriber | ____ |
"""


PAYER, BYSTANDER, STATE = "the payer", "every person in view", "`storage.directory`"


def _on(switch: bool) -> str:
    return "on" if switch else "off"


def page() -> str:
    """The complete page."""
    agent, service = Config(), ServiceConfig()
    storage, trace = agent.storage, agent.trace
    days = f"{trace.keep_days} days, at most {trace.max_bytes // 1_000_000} MB"
    shot = f"at most {agent.vision.crop_max_bytes // 1024} KiB each, {agent.verification.max_asks} API calls"
    preview = f"{_on(agent.page.preview)} by default, listening: {agent.page.listen}"
    display = f"listening: {agent.display.listen} by default"
    kept = (
        ("camera pictures 画面", BYSTANDER, "memory", "until the next frame; never written", "the code"),
        (
            "the crop of a face 人脸截图",
            PAYER,
            "memory, then the compare API",
            f"one verification; {shot}",
            "`vision.crop_max_bytes`, `verification.max_asks`",
        ),
        ("positions of face and landmarks", PAYER, "memory", "one verification", "the code"),
        (
            "positions of face and landmarks, as traces 轨迹记录",
            PAYER,
            f"{STATE}/traces",
            f"{_on(trace.enabled)} by default; {days}",
            "`trace.enabled`, `trace.keep_days`, `trace.max_bytes`",
        ),
        (
            "aligned faces (one; with the challenge those of its frames), their embeddings 对齐人脸与特征值",
            PAYER,
            "memory",
            "one verification; never written",
            "the code",
        ),
        ("the enrolled photo 注册照片", PAYER, "memory", "one verification; never written", "the code"),
        (
            "requests and results 请求与结果",
            "ids of sale, request, till; the decision",
            f"{STATE}/outbox.sqlite3",
            f"{storage.retention_hours} h, at most {storage.max_results:,} results; "
            "ids of the requests since the last start until the next start 请求编号保留到下次启动",
            "`storage.retention_hours`, `storage.max_results`",
        ),
        (
            "a damaged outbox, renamed at the start",
            "ids of sale, request, till; the decision",
            STATE,
            "until the operator deletes the file",
            "the operator",
        ),
        (
            "the last verification, for `facepay why`",
            "request id; no picture, no landmark",
            STATE,
            "until the next verification",
            "the code",
        ),
        (
            "log lines 日志",
            "ids of request and till; no picture, no secret",
            "systemd's journal",
            "what journald keeps",
            "`journald.conf`",
        ),
        (
            "embeddings of enrolled photos 特征值",
            PAYER,
            "memory of the embedded compare service, if the operator runs the service",
            f"the {service.cache_max} used last, until the service stops; 0 keeps none",
            "service.toml `cache_max`",
        ),
        (
            "an image that a technician requested",
            BYSTANDER,
            "the file the technician named",
            "until the technician deletes the file",
            "`facepay camera shot`, `bundle --with-picture`",
        ),
        (
            "the live preview 实时预览",
            BYSTANDER,
            "memory and one browser",
            f"while the preview is open; {preview}",
            "`page.preview`, `page.listen`",
        ),
        (
            "the screen for the payer 付款人屏幕",
            "the payer; other persons only inside the oval",
            "memory and one browser of the terminal",
            f"while a request is open; {display}",
            "`display.listen`",
        ),
    )
    return INTRO + "".join(f"| {' | '.join(row)} |\n" for row in kept) + OUTRO


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
