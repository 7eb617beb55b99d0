"""Conditions of the connection to the broker. Without it they are seen in `facepay status` only."""

from __future__ import annotations

from agent.health.condition import Condition, Severity

_RENEW = (
    "Renew it: `facepay enrol --url URL`, or `--csr-only` and `--install`; then "
    "`systemctl restart facepay-agent`."
)
_RENEW_ZH = (
    "请更新证书：facepay enrol --url URL，或使用 --csr-only 和 --install；"
    "然后执行 systemctl restart facepay-agent。"
)

ROWS = (
    Condition(
        code="mqtt_unreachable",
        title="The MQTT broker cannot be reached",
        title_zh="无法连接 MQTT 服务器",
        cause="Network down, broker stopped, wrong host or port, a firewall, or an untrusted certificate.",
        cause_zh="网络中断、服务器停止、host 或 port 错误、防火墙拦截，或证书不受信任。",
        fix="Check the network cable and host and port under [mqtt] in the config.",
        fix_zh="请检查网线以及配置文件 [mqtt] 中的 host 和 port。",
        depends_on=(
            "certificate_ended",  # a broker ends the handshake without a word that could be shown
            "mqtt_client_id_taken",  # two that kick each other off are each away now and then
        ),
        visible_after_ms=5_000,  # a broker that is started again
    ),
    Condition(
        code="mqtt_refused",
        title="The MQTT broker refuses this terminal",
        title_zh="MQTT 服务器拒绝了本终端",
        cause="Wrong password, a certificate of another CA, or the terminal is not on the broker's list.",
        cause_zh="密码错误、证书由其他 CA 签发，或终端不在服务器名单中。",
        fix="Check the certificate or password under [mqtt], and the broker's list of terminals.",
        fix_zh="请检查 [mqtt] 中的证书或密码，以及服务器上的终端名单。",
    ),
    Condition(
        code="mqtt_subscription_refused",
        title="The MQTT broker does not let this terminal hear requests",
        title_zh="MQTT 服务器不允许本终端接收请求",
        cause="The broker's ACL lacks this terminal, or site and terminal in the config are another's.",
        cause_zh="服务器 ACL 中没有本终端，或配置中的 site、terminal 属于其他设备。",
        fix="Give the terminal the rights of config/mosquitto/acl on the broker.",
        fix_zh="请在服务器上按 config/mosquitto/acl 为终端授权。",
        depends_on=("mqtt_refused",),
    ),
    Condition(
        code="mqtt_client_id_taken",
        title="Another client seems to connect with this terminal's MQTT id",
        title_zh="可能有其他设备使用了本终端的 MQTT 标识",
        cause="A copied card or config: two devices with the same site and terminal.",
        cause_zh="存储卡或配置被复制：两台设备使用了相同的 site 和 terminal。",
        fix="Find the device with the same site and terminal in its config; bind client ids to certificates.",
        fix_zh="请查找配置了相同 site 和 terminal 的设备，并将客户端标识与证书绑定。",
    ),
    Condition(
        code="terminal_cloned",
        title="Another terminal speaks under this one's name",
        title_zh="另有终端使用了本终端的名称",
        cause="Two devices with the same site and terminal: a copied config, or an id given out twice.",
        cause_zh="两台设备使用了相同的 site 和 terminal：配置被复制，或标识重复分配。",
        fix="Find the device with the same site and terminal, and give it a name of its own: facepay enrol.",
        fix_zh="请查找使用相同 site 和 terminal 的设备，并用 facepay enrol 以新名称重新登记。",
    ),
    Condition(
        code="certificate_ends_soon",
        severity=Severity.WARNING,
        title="This terminal's certificate ends within 30 days",
        title_zh="本终端的 MQTT 证书将在 30 天内到期",
        cause="It was signed for a limited time. `facepay doctor` says how many days are left.",
        cause_zh="证书的有效期有限。剩余天数请运行 facepay doctor 查看。",
        fix=_RENEW,
        fix_zh=_RENEW_ZH,
    ),
    Condition(
        code="certificate_ends_this_week",
        severity=Severity.WARNING,
        title="URGENT: this terminal's certificate ends within 7 days, and face payment with it",
        title_zh="紧急：本终端的 MQTT 证书将在 7 天内到期，届时刷脸支付将停止",
        cause="It was signed for a limited time. `facepay doctor` says how many days are left.",
        cause_zh="证书的有效期有限。剩余天数请运行 facepay doctor 查看。",
        fix=_RENEW,
        fix_zh=_RENEW_ZH,
    ),
    Condition(
        code="certificate_ended",
        title="This terminal's certificate has ended",
        title_zh="本终端的 MQTT 证书已过期",
        cause="It was not renewed in time; a terminal whose clock runs far ahead thinks so, too.",
        cause_zh="证书未及时更新；终端时钟严重超前时也会如此显示。",
        fix=_RENEW,
        fix_zh=_RENEW_ZH,
    ),
)
