"""Why a bundle or an enrolment is not taken: each code with what to do about it, as data."""

from __future__ import annotations

from agent.errors import FleetError

# code -> (fix, the same in Chinese)
FIXES: dict[str, tuple[str, str]] = {
    "bundle_unreadable": ("Copy the bundle again.", "请重新复制配置包。"),
    "bundle_malformed": (
        "Make it anew with `facepay config pack`; it was damaged or made by something else.",
        "请用 facepay config pack 重新生成配置包。",
    ),
    "bundle_untrusted": (
        "Sign it with a key that is pinned here, or pin the operator's: facepay config trust OPERATOR.pem.",
        "请用本机已信任的密钥签名，或执行 facepay config trust OPERATOR.pem。",
    ),
    "bundle_old": (
        "Pack it with a higher number. To go back one step: facepay config rollback.",
        "请使用更大的编号重新打包；如需退回上一份，请执行 facepay config rollback。",
    ),
    "bundle_other_ring": (
        "Wait until it is released to all, or put this terminal into the ring: config trust … --ring canary.",
        "请等待全量发布，或将本机加入灰度：facepay config trust … --ring canary。",
    ),
    "bundle_not_for_us": (
        "Pack a file for this terminal, or one without site and terminal for all of them.",
        "请为本终端打包配置，或打包不含 site 和 terminal 的通用配置。",
    ),
    "bundle_unfit": (
        "Correct the config and pack it with a higher number; nothing was changed here.",
        "请修正配置并用更大的编号重新打包；本机未作任何修改。",
    ),
    "bundle_rolled_back": (
        "The config before it is in force again. Correct the bundle and pack it with a higher number.",
        "已恢复之前的配置。请修正后用更大的编号重新打包。",
    ),
    "rollback_failed": (
        "The config before is in place, but the agent does not serve: facepay doctor.",
        "之前的配置已恢复，但服务未正常工作，请运行 facepay doctor。",
    ),
    "rollback_impossible": (
        "There is no config before this one; pack a good one with a higher number.",
        "没有更早的配置可恢复；请用更大的编号打包一份正确的配置。",
    ),
    "rollout_busy": ("Another `facepay config` is at work; wait for it.", "另一个配置操作正在进行，请稍候。"),
    "rollout_record_damaged": (
        "Look at the named file; without its number an old bundle could pass. Correct it by hand.",
        "请检查所示文件；缺少编号时旧配置包可能被接受，请手工修正。",
    ),
    "rollout_unwritable": (
        "Run it as the owner of the config file (sudo), with free space on its disk.",
        "请以配置文件所有者身份（sudo）运行，并确认磁盘有空间。",
    ),
    "enrolment_unreachable": (
        "Check the network, the address and its certificate (--server-ca); the token is still good.",
        "请检查网络、地址及其证书（--server-ca）；令牌仍可使用。",
    ),
    "enrolment_refused": (
        "Ask the operator for a new token: one is good for one terminal, once, for a while.",
        "请向运营方索取新令牌：每个令牌仅供一台终端使用一次，且有时限。",
    ),
    "enrolment_failed": (
        "The operator's enrolment service has a problem; tell him, and try again later.",
        "运营方的登记服务出现问题，请告知运营方并稍后重试。",
    ),
    "enrolment_unfit": (
        "Nothing was installed. Have the request signed again: facepay enrol --csr-only.",
        "未安装任何文件。请重新签发证书：facepay enrol --csr-only。",
    ),
    "enrolment_insecure": ("Use an https address of the operator.", "请使用运营方的 https 地址。"),
    "enrolment_incomplete": (
        "Give what is named: --url, --site, --terminal, or a token by --token-file or at the prompt.",
        "请补充所示参数：--url、--site、--terminal，或通过 --token-file 或提示输入令牌。",
    ),
    "enrolment_key_unusable": (
        "Delete the named TLS key to have a new one made; its certificate is then void.",
        "请删除所示 TLS 密钥以重新生成；原证书随之失效。",
    ),
    "enrolment_unwritable": (
        "Run it as the owner of the config's folder (sudo), with free space on its disk.",
        "请以配置目录所有者身份（sudo）运行，并确认磁盘有空间。",
    ),
    "operator_key_unsafe": (
        "Somebody else can change what is kept there: chown root and chmod go-w the named path.",
        "他人可以修改其中的文件：请对所示路径执行 chown root 和 chmod go-w。",
    ),
    "operator_keys_full": (
        "Forget the old ones: facepay config trust OPERATOR.pem --only.",
        "请移除旧密钥：facepay config trust OPERATOR.pem --only。",
    ),
    "operator_key_missing": (
        "Pin the operator's public key first: facepay config trust OPERATOR.pem.",
        "请先信任运营方公钥：facepay config trust OPERATOR.pem。",
    ),
}


def refusal(code: str, message: str) -> FleetError:
    """A ``FleetError`` with its words. A code without words is a bug."""
    fix, fix_zh = FIXES[code]
    return FleetError(message, code=code, fix=fix, fix_zh=fix_zh)
