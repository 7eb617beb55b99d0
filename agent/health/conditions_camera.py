"""Conditions of the camera. What they share: without pictures of a living scene nobody can be asked about."""

from __future__ import annotations

from agent.health.condition import Condition, Severity

ROWS = (
    Condition(
        code="camera_unavailable",
        title="No pictures from the camera",
        title_zh="摄像头没有画面",
        cause="Cable loose, camera without power, or another program has it open.",
        cause_zh="连线松动、摄像头未供电，或被其他程序占用。",
        fix="Check the camera cable and that no other program uses the camera.",
        fix_zh="请检查摄像头连线，并确认没有其他程序占用摄像头。",
        visible_after_ms=1_000,
    ),
    Condition(
        code="camera_frozen",
        title="The camera repeats one picture",
        title_zh="摄像头画面静止不动",
        cause="The camera or its driver hangs and hands out its last frame.",
        cause_zh="摄像头或其驱动已卡死，一直输出最后一帧。",
        fix="Power-cycle the terminal; replace the camera if it comes back.",
        fix_zh="请重启终端；如再次出现，请更换摄像头。",
        depends_on=("camera_unavailable",),
    ),
    Condition(
        code="camera_covered",
        severity=Severity.WARNING,
        title="The picture is black",
        title_zh="画面全黑",
        cause="Something is in front of the lens, or the light is off.",
        cause_zh="镜头被遮挡，或灯光未打开。",
        fix="Uncover the lens, or switch on a light.",
        fix_zh="请移开镜头前的遮挡物，或打开灯光。",
        depends_on=("camera_unavailable", "camera_frozen"),
        visible_after_ms=3_000,  # a hand, a cloth
    ),
)
