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
            "mqtt_message_not_taken",  # a broker that ends the connection after it
        ),
        visible_after_ms=5_000,  # a broker that is started again
    ),
    Condition(
        code="mqtt_refused",
        title="The MQTT broker refuses this terminal's credentials",
        title_zh="MQTT 服务器拒绝了本终端的凭据",
        cause="Wrong user name or password, a certificate of another CA, or no entry in the broker's list.",
        cause_zh="用户名或密码错误、证书由其他 CA 签发，或终端不在服务器名单中。",
        fix="Check the certificate or password under [mqtt], and the broker's list of terminals.",
        fix_zh="请检查 [mqtt] 中的证书或密码，以及服务器上的终端名单。",
    ),
    Condition(
        code="mqtt_banned",
        title="The MQTT broker has blocked this terminal",
        title_zh="MQTT 服务器已封禁本终端",
        cause="An administrator, or a rule against failed logins, has blocked the client or its address.",
        cause_zh="管理员或登录失败次数限制封禁了该客户端或其地址。",
        fix="Remove the terminal's client id and address from the broker's ban list.",
        fix_zh="请在服务器的封禁名单中删除本终端的客户端标识和地址。",
    ),
    Condition(
        code="mqtt_protocol_refused",
        title="The MQTT broker does not accept MQTT 5 from this terminal",
        title_zh="MQTT 服务器不接受本终端的 MQTT 5 协议",
        cause="The broker is older than MQTT 5, has it switched off, or a gateway changes the packets.",
        cause_zh="服务器版本过旧、未启用 MQTT 5，或网关修改了数据包。",
        fix="Use a broker with MQTT 5, e.g. mosquitto 2, without a gateway of another protocol before it.",
        fix_zh="请使用支持 MQTT 5 的服务器（如 mosquitto 2），不要经过其他协议的网关。",
    ),
    Condition(
        code="mqtt_client_id_refused",
        title="The MQTT broker does not accept this terminal's client id",
        title_zh="MQTT 服务器不接受本终端的客户端标识",
        cause="The broker has a rule for client ids; this terminal's is facepay-SITE-TERMINAL.",
        cause_zh="服务器对客户端标识有规则；本终端的标识为 facepay-SITE-TERMINAL。",
        fix="Allow this client id on the broker, or correct site and terminal in the config.",
        fix_zh="请在服务器上允许该客户端标识，或更正配置中的 site 和 terminal。",
    ),
    Condition(
        code="mqtt_broker_busy",
        title="The MQTT broker runs, but takes no connection now",
        title_zh="MQTT 服务器在运行，但目前不接受连接",
        cause="It starts, stops or is overloaded, or it limits the rate or the length of connections.",
        cause_zh="服务器正在启动、停止或过载，或限制了连接频率或时长。",
        fix="Wait; if it stays, check the broker's load and its connection limits.",
        fix_zh="请稍候；如持续出现，请检查服务器负载和连接限制。",
    ),
    Condition(
        code="mqtt_quota_exceeded",
        title="This terminal has used up a quota of the MQTT broker",
        title_zh="本终端已用完 MQTT 服务器的配额",
        cause="The broker limits the messages, bytes or retained messages of a client.",
        cause_zh="服务器限制了客户端的消息数、字节数或保留消息数。",
        fix="Raise the quota of this terminal on the broker.",
        fix_zh="请在服务器上提高本终端的配额。",
    ),
    Condition(
        code="mqtt_broker_limits",
        title="The MQTT broker lacks a function that this terminal needs",
        title_zh="MQTT 服务器缺少本终端需要的功能",
        cause="Retained messages, QoS 1, wildcard subscriptions or these topics are switched off there.",
        cause_zh="服务器关闭了保留消息、QoS 1、通配符订阅，或不允许这些主题。",
        fix="Switch it on at the broker, e.g. `retain_available true` and `max_qos 2` in mosquitto.",
        fix_zh="请在服务器上启用，例如 mosquitto 的 retain_available true 和 max_qos 2。",
    ),
    Condition(
        code="mqtt_broker_moved",
        title="The MQTT broker refers this terminal to another server",
        title_zh="MQTT 服务器要求本终端连接其他服务器",
        cause="The service has moved. `facepay status` shows the new address, if the broker gives one.",
        cause_zh="服务已迁移。如服务器给出新地址，facepay status 会显示。",
        fix="Set host and port under [mqtt] to the new server.",
        fix_zh="请将 [mqtt] 中的 host 和 port 改为新服务器。",
    ),
    Condition(
        code="mqtt_broker_fault",
        title="The MQTT broker ends the connection for a reason of its own",
        title_zh="MQTT 服务器因自身原因断开连接",
        cause="The broker's reason code names no fault of the terminal.",
        cause_zh="服务器给出的原因码未指明终端的故障。",
        fix="Read the broker's log at this time.",
        fix_zh="请查看服务器在该时间的日志。",
    ),
    Condition(
        code="mqtt_publish_refused",
        title="The MQTT broker refuses messages of this terminal",
        title_zh="MQTT 服务器拒绝本终端发布消息",
        cause="The broker's ACL lacks a right of this terminal, e.g. SITE in it was not replaced.",
        cause_zh="服务器 ACL 中缺少本终端的权限，例如其中的 SITE 未替换。",
        fix="Give the terminal the rights of config/mosquitto/acl on the broker.",
        fix_zh="请在服务器上按 config/mosquitto/acl 为终端授权。",
        depends_on=("mqtt_refused",),
    ),
    Condition(
        code="mqtt_message_not_taken",
        title="The MQTT broker does not take one message of this terminal",
        title_zh="MQTT 服务器不接收本终端的某条消息",
        cause="It is larger than the broker's maximum packet, or each connection ends after it.",
        cause_zh="消息超过服务器的最大报文长度，或每次发送后连接都会断开。",
        fix="Set the broker's maximum packet to 262144 bytes or more (mosquitto: max_packet_size).",
        fix_zh="请将服务器的最大报文长度设为 262144 字节或以上（mosquitto：max_packet_size）。",
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
