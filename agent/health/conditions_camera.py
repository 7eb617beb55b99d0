"""Conditions of the camera. What they share: without pictures of a living scene nobody can be asked about."""

from __future__ import annotations

from agent.health.condition import Condition, Severity

NO_PICTURE = ("camera_unavailable", "camera_stalled", "camera_busy", "camera_absent", "camera_denied")

ROWS = (
    Condition(
        code="camera_unavailable",
        title="No pictures from the camera",
        title_zh="摄像头没有画面",
        cause="The camera or its adapter failed in a way that has no name of its own; the log has its words.",
        cause_zh="摄像头或其驱动出现其他故障，详见日志。",
        fix="Check the camera cable and that no other program uses the camera.",
        fix_zh="请检查摄像头连线，并确认没有其他程序占用摄像头。",
        visible_after_ms=1_000,
    ),
    Condition(
        code="camera_stalled",
        title="The camera stopped giving pictures",
        title_zh="摄像头停止输出画面",
        cause="The camera, its cable or its driver hangs; the agent is bringing it back.",
        cause_zh="摄像头、连线或驱动已卡死，系统正在尝试恢复。",
        fix="It is being restarted; if it stays so, power-cycle the terminal and check the camera cable.",
        fix_zh="系统正在重启摄像头；如未恢复，请断电重启终端并检查摄像头连线。",
        visible_after_ms=1_000,
    ),
    Condition(
        code="camera_busy",
        title="Another program uses the camera",
        title_zh="摄像头被其他程序占用",
        cause="A second agent, or a test program somebody left running.",
        cause_zh="有另一个服务实例，或未关闭的测试程序。",
        fix="End the other program: `facepay doctor` names it.",
        fix_zh="请结束占用摄像头的程序，可用 facepay doctor 查看。",
        visible_after_ms=1_000,
    ),
    Condition(
        code="camera_absent",
        title="The camera is not there",
        title_zh="找不到摄像头",
        cause="Unplugged, without power, or another name than camera.source says.",
        cause_zh="未插好、未供电，或与 camera.source 的名称不符。",
        fix="Plug it in; check its cable, and camera.source in the config against `ls /dev/v4l/by-id`.",
        fix_zh="请插好摄像头并检查连线，并用 ls /dev/v4l/by-id 核对配置中的 camera.source。",
        visible_after_ms=1_000,
    ),
    Condition(
        code="camera_denied",
        title="The agent may not use the camera",
        title_zh="没有使用摄像头的权限",
        cause="The service's user is not in group video, or the unit's device policy was changed.",
        cause_zh="服务用户不在 video 组中，或服务的设备策略被修改。",
        fix="Add its user to group video: `usermod -aG video facepay`, then restart the agent.",
        fix_zh="请将运行用户加入 video 组：usermod -aG video facepay，然后重启程序。",
    ),
    Condition(
        code="camera_frozen",
        title="The camera repeats one picture",
        title_zh="摄像头画面静止不动",
        cause="The camera or its driver hangs and hands out its last frame.",
        cause_zh="摄像头或其驱动已卡死，一直输出最后一帧。",
        fix="Power-cycle the terminal; replace the camera if it comes back.",
        fix_zh="请重启终端；如再次出现，请更换摄像头。",
        depends_on=NO_PICTURE,
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
        depends_on=(*NO_PICTURE, "camera_frozen"),
        visible_after_ms=3_000,  # a hand, a cloth
    ),
)
