"""Conditions of the camera. What they share: without pictures of a living scene nobody can be asked about."""

from __future__ import annotations

from agent.health.condition import Condition, Severity

# Why there is no picture: one of these at a time. They are told apart where the camera is opened.
NO_PICTURE = (
    Condition(
        code="camera_unavailable",
        title="No pictures from the camera",
        title_zh="摄像头没有画面",
        cause="Cable loose, camera without power, a format it does not have, a stream whose sender is away.",
        cause_zh="连线松动、摄像头未供电、不支持所需格式，或视频流发送端离线。",
        fix="Check the camera cable and [camera] in the config; `facepay doctor` says more.",
        fix_zh="请检查摄像头连线和配置中的 [camera]；可用 facepay doctor 查看详情。",
        visible_after_ms=1_000,
    ),
    Condition(
        code="camera_stalled",
        title="The camera stopped giving pictures",
        title_zh="摄像头停止输出画面",
        cause="The camera or its driver hangs. It is being restarted, see docs/how-to/cameras.md.",
        cause_zh="摄像头或其驱动已卡死，系统正在重启它，见 docs/how-to/cameras.md。",
        fix="If it stays so, power-cycle the terminal and check the camera cable.",
        fix_zh="如未恢复，请断电重启终端并检查摄像头连线。",
        visible_after_ms=1_000,
    ),
    Condition(
        code="camera_busy",
        title="Another program uses the camera",
        title_zh="摄像头被其他程序占用",
        cause="A viewer or a second agent has it open; only one program can.",
        cause_zh="有查看程序或另一个实例打开了摄像头；同一时间只能有一个程序使用。",
        fix="End the other program: `facepay doctor` names it.",
        fix_zh="请结束占用摄像头的程序，可用 facepay doctor 查看。",
        visible_after_ms=1_000,
    ),
    Condition(
        code="camera_absent",
        title="The camera is not there",
        title_zh="找不到摄像头",
        cause="Unplugged, without power, broken, or another name in the config than the system gives it.",
        cause_zh="摄像头未插好、未供电、已损坏，或配置中的名称与系统中的不符。",
        fix="Plug it in; check its cable, and camera.source against `ls /dev/v4l/by-id`.",
        fix_zh="请插好摄像头并检查连线，并用 ls /dev/v4l/by-id 核对 camera.source。",
        visible_after_ms=1_000,
    ),
    Condition(
        code="camera_denied",
        title="The agent may not use the camera",
        title_zh="没有使用摄像头的权限",
        cause="Its user is not in group video, or the unit's device list does not have the camera.",
        cause_zh="运行用户不在 video 组，或服务单元的设备列表不包含该摄像头。",
        fix="Add its user to the group: `usermod -aG video facepay`, then restart the agent.",
        fix_zh="请将运行用户加入该组：usermod -aG video facepay，然后重启程序。",
        visible_after_ms=1_000,
    ),
)
_NONE = tuple(row.code for row in NO_PICTURE)

ROWS = (
    *NO_PICTURE,
    Condition(
        code="camera_frozen",
        title="The camera repeats one picture",
        title_zh="摄像头画面静止不动",
        cause="The camera or its driver hangs and hands out its last frame.",
        cause_zh="摄像头或其驱动已卡死，一直输出最后一帧。",
        fix="Power-cycle the terminal; replace the camera if it comes back.",
        fix_zh="请重启终端；如再次出现，请更换摄像头。",
        depends_on=_NONE,
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
        depends_on=(*_NONE, "camera_frozen"),
        visible_after_ms=3_000,  # a hand, a cloth
    ),
)
