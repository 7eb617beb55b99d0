"""The words of the closed lists for the page, in English and Chinese."""

from __future__ import annotations

import tomllib
from functools import cache

from agent.core.reasons import FrameReason
from agent.resources import data

Pair = tuple[str, str]

FRAMES: dict[FrameReason, Pair] = {
    FrameReason.IDLE: ("nobody asked", "空闲"),
    FrameReason.NO_PRESENCE: ("nothing changed", "画面无变化"),
    FrameReason.NO_FACE: ("no face", "无人脸"),
    FrameReason.MULTIPLE_FACES: ("several faces", "多张人脸"),
    FrameReason.OFF_CENTRE: ("outside the zone", "不在区域内"),
    FrameReason.TOO_SMALL: ("too far away", "距离过远"),
    FrameReason.TOO_LARGE: ("too close", "距离过近"),
    FrameReason.TURNED: ("turned away", "未正对镜头"),
    FrameReason.TOO_DARK: ("too dark", "过暗"),
    FrameReason.TOO_BRIGHT: ("too bright", "过亮"),
    FrameReason.BACKLIT: ("light from behind", "逆光"),
    FrameReason.BLURRED: ("blurred", "模糊"),
    FrameReason.FOLLOWED: ("good, followed", "合格，跟踪中"),
    FrameReason.SHOT: ("good enough to send", "合格，可发送"),
}
PHASES: dict[str, Pair] = {
    "wait_face": ("until a usable face", "等待合格人脸"),
    "hold": ("looking for a better one", "择优"),
    "encode": ("encoding", "编码"),
    "sign": ("signing", "签名"),
    "connect": ("connecting", "连接"),
    "api": ("the API's answer", "接口应答"),
    "other": ("everything else", "其他"),
}
DECISIONS: dict[str, Pair] = {
    "match": ("match", "一致"),
    "no_match": ("no match", "不一致"),
    "undecided": ("undecided", "未判定"),
}


@cache
def document() -> dict[str, dict[str, Pair]]:
    """Kind, word, (English, Chinese): for the page's script."""
    english, chinese = (
        tomllib.loads(data(f"locales/{name}.toml").read_text(encoding="utf-8")) for name in ("en", "zh-CN")
    )
    both = {
        kind: {word: (english[kind][word], chinese[kind][word]) for word in english[kind]}
        for kind in ("reason", "refusal")
    }
    frames = {reason.value: words for reason, words in FRAMES.items()}
    return {"frame": frames, "phase": PHASES, "decision": DECISIONS, **both}
