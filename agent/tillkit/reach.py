"""Why nothing was heard: no broker, one that refuses this client, or no terminal behind it."""

from __future__ import annotations

from agent.config import MqttConfig
from agent.errors import TillError
from agent.health.conditions import CONDITIONS
from agent.till.link_reasons import REFUSING, Trouble


class Reach:
    """What one link met so far. ``up`` and ``note`` are for its ``Wiring``."""

    def __init__(self, config: MqttConfig) -> None:
        self._where = f"{config.host}:{config.port}"
        self._up = False
        self._troubles = dict[Trouble, str]()

    def up(self) -> None:
        self._up = True

    def note(self, trouble: Trouble, there: bool, detail: str = "") -> None:
        if there:
            self._troubles[trouble] = detail
        else:
            self._troubles.pop(trouble, None)

    def silence(self, terminal: str) -> TillError:
        """The error for whoever waited in vain. ``terminal``: what to say when all is well as far as here."""
        refusing = next((each for each in self._troubles if each in REFUSING), None)
        if refusing is not None and refusing is not Trouble.REFUSED:
            condition = CONDITIONS[refusing]
            return TillError(
                f"the broker at {self._where}: {self._troubles[refusing]}",
                code=refusing,
                fix=condition.fix,
                fix_zh=condition.fix_zh,
            )
        if refusing is not None:
            return TillError(
                f"the broker at {self._where} refuses this client: {self._troubles[refusing]}",
                code=Trouble.REFUSED,
                fix="Give this client its own identity (--cert-file and --key-file, or --username and "
                "--password-file), and check the broker's list.",
                fix_zh="请为本客户端指定自己的身份（--cert-file 和 --key-file，或 --username 和 "
                "--password-file），并检查服务器上的用户名单。",
            )
        if not self._up or Trouble.UNREACHABLE in self._troubles:
            return TillError(
                f"no MQTT broker answers at {self._where}",
                code=Trouble.UNREACHABLE,
                fix="Check host and port (--host, --port, or [mqtt] of --config), the network, that the "
                "broker runs, and its certificate where TLS is spoken.",
                fix_zh="请检查主机和端口（--host、--port 或 --config 文件的 [mqtt]）、网络、服务器是否运行，"
                "以及 TLS 证书。",
            )
        if Trouble.DEAF in self._troubles:
            return TillError(
                f"the broker at {self._where} refuses the subscriptions (ACL)",
                code=Trouble.DEAF,
                fix="Let this client read the terminal's topics: the broker's access list.",
                fix_zh="请在服务器的访问控制列表中允许本客户端读取该终端的主题。",
            )
        return TillError(
            terminal,
            code="terminal_offline",
            fix="Check --site and --terminal, and that its agent runs: `facepay status` over there.",
            fix_zh="请检查 --site 和 --terminal，并在该终端上用 `facepay status` 确认服务正在运行。",
        )
