"""What can be wrong with a terminal for longer than one request, as declared data.

A condition is raised and cleared by the composition root's code only through ``Tracker``; shown the same way
in the retained ``state``, in ``facepay`` output and in the documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    WARNING = "warning"  # serves, but somebody should look
    ERROR = "error"  # cannot serve until it heals or is mended


@dataclass(frozen=True, slots=True)
class Condition:
    code: str
    severity: Severity
    title: str
    title_zh: str
    fix: str
    fix_zh: str


def _error(code: str, title: str, title_zh: str, fix: str, fix_zh: str) -> Condition:
    return Condition(code, Severity.ERROR, title, title_zh, fix, fix_zh)


_ALL = (
    _error(
        "camera_unavailable",
        "No pictures from the camera",
        "摄像头没有画面",
        "Check the camera cable and that no other program uses the camera.",
        "请检查摄像头连线，并确认没有其他程序占用摄像头。",
    ),
    _error(
        "camera_frozen",
        "The camera repeats one picture",
        "摄像头画面静止不动",
        "Power-cycle the terminal; replace the camera if it comes back.",
        "请重启终端；如再次出现，请更换摄像头。",
    ),
    Condition(
        "camera_covered",
        Severity.WARNING,
        "The picture is black",
        "画面全黑",
        "Uncover the lens, or switch on a light.",
        "请移开镜头前的遮挡物，或打开灯光。",
    ),
    _error(
        "mqtt_unreachable",
        "The MQTT broker cannot be reached",
        "无法连接 MQTT 服务器",
        "Check the network cable and host and port under [mqtt] in the config.",
        "请检查网线以及配置文件 [mqtt] 中的 host 和 port。",
    ),
    _error(
        "mqtt_refused",
        "The MQTT broker refuses this terminal",
        "MQTT 服务器拒绝了本终端",
        "Check the certificate or password under [mqtt], and the broker's list of terminals.",
        "请检查 [mqtt] 中的证书或密码，以及服务器上的终端名单。",
    ),
    _error(
        "mqtt_subscription_refused",
        "The MQTT broker does not let this terminal hear requests",
        "MQTT 服务器不允许本终端接收请求",
        "Give the terminal the rights of config/mosquitto/acl on the broker.",
        "请在服务器上按 config/mosquitto/acl 为终端授权。",
    ),
    _error(
        "mqtt_client_id_taken",
        "Another client seems to connect with this terminal's MQTT id",
        "可能有其他设备使用了本终端的 MQTT 标识",
        "Find the device with the same site and terminal in its config; bind client ids to certificates.",
        "请查找配置了相同 site 和 terminal 的设备，并将客户端标识与证书绑定。",
    ),
    _error(
        "terminal_cloned",
        "Another terminal speaks under this one's name",
        "另有终端使用了本终端的名称",
        "Find the device with the same site and terminal, and give it a name of its own: facepay enrol.",
        "请查找使用相同 site 和 terminal 的设备，并用 facepay enrol 以新名称重新登记。",
    ),
    _error(
        "machine_changed",
        "The keys of this terminal were made on another machine",
        "本终端的密钥来自另一台机器",
        "A copy: delete its keys, enrol it anew. Moved on purpose: `facepay keys bind`, then restart it.",
        "如为复制品：请删除密钥并重新登记；如为有意更换硬件：请执行 facepay keys bind 并重启服务。",
    ),
    _error(
        "compare_unreachable",
        "The compare service does not answer",
        "比对服务无响应",
        "Check the network cable and the address under [compare] in the config.",
        "请检查网线以及配置文件 [compare] 中的地址。",
    ),
    _error(
        "compare_credentials",
        "The compare service refuses this terminal's key",
        "比对服务拒绝了本终端的密钥",
        "Install the right secret key file; ask the back office for it.",
        "请安装正确的密钥文件，可向后台索取。",
    ),
    _error(
        "compare_account",
        "The face-payment account is suspended or used up",
        "刷脸支付账户已停用或额度用完",
        "The operator must settle the account with the provider.",
        "请运营方与服务商处理账户问题。",
    ),
    _error(
        "compare_config",
        "The compare service does not know this terminal's settings",
        "比对服务不认可本终端的配置",
        "Check appid, bucket and url under [compare] in the config.",
        "请检查配置文件 [compare] 中的 appid、bucket 和 url。",
    ),
    _error(
        "clock",
        "The terminal's clock is wrong",
        "终端时间不正确",
        "Give the terminal a time source; signatures need the right time.",
        "请为终端配置时间同步，签名需要正确的时间。",
    ),
    _error(
        "model_unusable",
        "A face model does not run",
        "人脸模型无法运行",
        "Reinstall the package.",
        "请重新安装软件包。",
    ),
    _error(
        "storage_unavailable",
        "Results cannot be stored",
        "无法保存结果",
        "Free disk space, or correct the permissions of the state directory.",
        "请清理磁盘空间，或修正状态目录的权限。",
    ),
    Condition(
        "cost_high",
        Severity.WARNING,
        "Unusually many paid calls in the last day",
        "过去一天的付费调用异常偏多",
        "Look for a till that asks again and again; else raise calls_per_day_warning under [guard].",
        "请检查是否有收银机反复请求；如属正常，请调高 [guard] 中的 calls_per_day_warning。",
    ),
    _error(
        "cost_limit",
        "The limit for paid calls is reached",
        "付费调用已达上限",
        "Wait, or raise calls_per_minute or calls_per_day under [guard] in the config.",
        "请等待，或调高配置文件 [guard] 中的 calls_per_minute 或 calls_per_day。",
    ),
    Condition(
        "config_refused",
        Severity.WARNING,
        "The changed config file was not taken: the last good one is in force",
        "修改后的配置未生效，仍使用上一份有效配置",
        "See `facepay status` for the reason; correct the file and reload, or restart the agent.",
        "原因见 facepay status；请修正配置后重新加载，或重启服务。",
    ),
    Condition(
        "outbox_reset",
        Severity.WARNING,
        "A damaged outbox was set aside",
        "损坏的发件箱已被隔离",
        "Keep the file named in the log for the back office; results before it may be missing.",
        "请保留日志中提到的文件供后台核查，之前的结果可能缺失。",
    ),
)

CONDITIONS: dict[str, Condition] = {condition.code: condition for condition in _ALL}
