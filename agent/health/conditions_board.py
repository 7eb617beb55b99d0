"""Conditions of the terminal itself: models, disk, config."""

from __future__ import annotations

from agent.health.condition import Condition, Severity

ROWS = (
    Condition(
        code="model_unusable",
        title="A face model does not run",
        title_zh="人脸模型无法运行",
        cause="A damaged file, or a version of OpenCV that this model was not tested with.",
        cause_zh="文件损坏，或 OpenCV 版本未经该模型测试。",
        fix="Reinstall the package.",
        fix_zh="请重新安装软件包。",
    ),
    Condition(
        code="storage_unavailable",
        title="Results cannot be stored",
        title_zh="无法保存结果",
        cause="The disk is full, went read-only, or the state directory belongs to another user.",
        cause_zh="磁盘已满、变为只读，或状态目录属于其他用户。",
        fix="Free disk space, or correct the state directory's permissions. Read-only: reboot or change it.",
        fix_zh="请清理磁盘空间，或修正状态目录的权限；如变为只读：请重启设备，仍如此则更换存储卡。",
    ),
    Condition(
        code="config_refused",
        severity=Severity.WARNING,
        title="The changed config file was not taken: the last good one is in force",
        title_zh="修改后的配置未生效，仍使用上一份有效配置",
        cause="A mistake in the file, or a change that takes a restart.",
        cause_zh="配置文件有误，或该修改需要重启服务。",
        fix="See `facepay status` for the reason; correct the file and reload, or restart the agent.",
        fix_zh="原因见 facepay status；请修正配置后重新加载，或重启服务。",
    ),
    Condition(
        code="outbox_reset",
        severity=Severity.WARNING,
        title="A damaged outbox was set aside",
        title_zh="损坏的发件箱已被隔离",
        cause="Power was cut while the disk wrote, or the card is at its end. Stays until the next start.",
        cause_zh="写入时断电，或存储卡寿命将尽。该提示保留到下次启动。",
        fix="Keep the file named in the log for the back office; results before it may be missing.",
        fix_zh="请保留日志中提到的文件供后台核查，之前的结果可能缺失。",
    ),
    Condition(
        code="machine_changed",
        title="The keys of this terminal were made on another machine",
        title_zh="本终端的密钥来自另一台机器",
        cause="The card or the state directory was copied, or moved to another board.",
        cause_zh="存储卡或状态目录被复制，或移到了另一块主板。",
        fix="A copy: delete its keys, enrol it anew. Moved on purpose: `facepay keys bind`, then restart it.",
        fix_zh="如为复制品：请删除密钥并重新登记；如为有意更换硬件：请执行 facepay keys bind 并重启服务。",
    ),
)
