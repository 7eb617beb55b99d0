"""Conditions of the compare service, its account, and what calls cost. One success proves most wrong."""

from __future__ import annotations

from agent.health.condition import Condition, Severity

ROWS = (
    Condition(
        code="compare_unreachable",
        title="The compare service does not answer",
        title_zh="比对服务无响应",
        cause="Network down, wrong address, a firewall, an untrusted certificate, or the service is down.",
        cause_zh="网络中断、地址错误、防火墙拦截、证书不受信任，或服务已停止。",
        fix="Check the network cable and the address under [compare] in the config.",
        fix_zh="请检查网线以及配置文件 [compare] 中的地址。",
    ),
    Condition(
        code="compare_slow",
        title="The compare service answers too slowly",
        title_zh="比对服务应答过慢",
        cause="The service accepts requests and does not answer within verification.ask_timeout_ms.",
        cause_zh="服务接受了请求，但未在 verification.ask_timeout_ms 内应答。",
        fix="Ask the provider about its speed; the calls that were not answered in time may cost money.",
        fix_zh="请向服务商询问其响应速度；未及时应答的调用也可能计费。",
    ),
    Condition(
        code="compare_credentials",
        title="The compare service refuses this terminal's key",
        title_zh="比对服务拒绝了本终端的密钥",
        cause="The secret key file is not that of the secret_id, or the key was replaced at the provider.",
        cause_zh="密钥文件与 secret_id 不匹配，或密钥已在服务商处更换。",
        fix="Install the right secret key file; ask the back office for it.",
        fix_zh="请安装正确的密钥文件，可向后台索取。",
        depends_on=("clock",),  # a signature of the wrong moment is refused, too
    ),
    Condition(
        code="compare_account",
        title="The face-payment account is suspended or used up",
        title_zh="刷脸支付账户已停用或额度用完",
        cause="An unpaid bill, a used-up quota, or an account the provider closed.",
        cause_zh="账单未付、额度用完，或账户被服务商关闭。",
        fix="The operator must settle the account with the provider.",
        fix_zh="请运营方与服务商处理账户问题。",
    ),
    Condition(
        code="compare_config",
        title="The compare service does not know this terminal's settings",
        title_zh="比对服务不认可本终端的配置",
        cause="appid, bucket or url belong to another account or another service.",
        cause_zh="appid、bucket 或 url 属于其他账户或其他服务。",
        fix="Check appid, bucket and url under [compare] in the config.",
        fix_zh="请检查配置文件 [compare] 中的 appid、bucket 和 url。",
    ),
    Condition(
        code="clock",
        title="The terminal's clock is wrong",
        title_zh="终端时间不正确",
        cause="No time source: a board without a battery, or NTP (UDP 123) is blocked.",
        cause_zh="没有时间来源：主板无电池，或 NTP（UDP 123）被拦截。",
        fix="Give the terminal a time source; signatures need the right time.",
        fix_zh="请为终端配置时间同步，签名需要正确的时间。",
    ),
    Condition(
        code="cost_high",
        severity=Severity.WARNING,
        title="Unusually many paid calls in the last day",
        title_zh="过去一天的付费调用异常偏多",
        cause="A till that asks again and again, or a day with more payers than calls_per_day_warning.",
        cause_zh="某台收银机反复请求，或当天付款人数超过 calls_per_day_warning。",
        fix="Look for a till that asks again and again; else raise calls_per_day_warning under [guard].",
        fix_zh="请检查是否有收银机反复请求；如属正常，请调高 [guard] 中的 calls_per_day_warning。",
        depends_on=("cost_limit",),
    ),
    Condition(
        code="cost_limit",
        title="The limit for paid calls is reached",
        title_zh="付费调用已达上限",
        cause="More calls than calls_per_minute or calls_per_day allow: a till in a loop, or a busy day.",
        cause_zh="调用次数超过 calls_per_minute 或 calls_per_day：收银机循环请求，或当天客流过多。",
        fix="Wait, or raise calls_per_minute or calls_per_day under [guard] in the config.",
        fix_zh="请等待，或调高配置文件 [guard] 中的 calls_per_minute 或 calls_per_day。",
    ),
)
