"""Debian's Prometheus and Alertmanager with the shipped configuration, on loopback, for one test.

The times of the rules are divided by ``FASTER``, those of Alertmanager are a few seconds, ports and files are
replaced. Everything else is as shipped. `make promtool` installs both programs.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.brokers import BUSY_S, free_port

CONFIG = Path(__file__).parents[2] / "config"
FASTER = 30
SCRAPE_S = 2
PROGRAMS = ("prometheus", "prometheus-alertmanager")
_TIME = re.compile(r"(?<=\[)(\d+)([mh])(?=\])|(?<=for: )(\d+)([mh])\b")
_SECONDS = {"m": 60, "h": 3_600}

Named = tuple[str, str, str]  # alert, site, terminal; empty where the alert has no such label


class Notifications:
    """The webhook of Alertmanager: which alerts were raised and which ended, on which path.

    Attributes:
        raised: the start times of each alert; one start is one alert, however often it is repeated.
        ended: the alerts that were reported as resolved.
        prometheus_url: the Prometheus that sends them.
    """

    prometheus_url = ""

    def __init__(self) -> None:
        self.raised = dict[Named, set[str]]()
        self.ended = set[Named]()
        self.paths = dict[str, str]()  # alert: path
        self.summaries = dict[Named, str]()
        self._is_stopped = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.note(self.path, json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """No log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self.server.server_address[1])

    def stop(self) -> None:
        """Ignore all notifications from now on."""
        self._is_stopped = True

    def note(self, path: str, group: Mapping[str, Any]) -> None:
        if self._is_stopped:
            return
        for alert in group["alerts"]:
            labels = alert["labels"]
            named = labels["alertname"], labels.get("site", ""), labels.get("terminal", "")
            self.paths[named[0]] = path
            self.summaries[named] = alert["annotations"]["summary"]
            self.raised.setdefault(named, set()).add(alert["startsAt"])
            if alert["status"] == "resolved":
                self.ended.add(named)


@contextmanager
def monitoring(folder: Path, exporter_port: int) -> Iterator[Notifications]:
    """Both programs run; the notifications that arrive."""
    prometheus, alertmanager = PROGRAMS
    ports = {"prometheus": free_port(), "alertmanager": free_port()}
    notifications = Notifications()
    notifications.prometheus_url = f"http://127.0.0.1:{ports['prometheus']}"
    (folder / "rules.yml").write_text(_faster((CONFIG / "prometheus" / "rules.yml").read_text()))
    (folder / "prometheus.yml").write_text(_prometheus(folder, exporter_port, ports["alertmanager"]))
    (folder / "alertmanager.yml").write_text(_alertmanager(notifications.port))
    commands = {
        "prometheus": [
            prometheus,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder}/tsdb",
        ],
        "alertmanager": [
            alertmanager,
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder}/am",
        ],
    }
    commands["alertmanager"].append("--cluster.listen-address=")
    threading.Thread(target=notifications.server.serve_forever, daemon=True).start()
    with ExitStack() as stack:
        stack.callback(notifications.server.server_close)
        stack.callback(notifications.server.shutdown)
        for name, command in commands.items():
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            command.append(f"--web.listen-address=127.0.0.1:{ports[name]}")
            process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)
            stack.callback(process.wait, BUSY_S)
            stack.callback(process.terminate)
            _await_ready(f"http://127.0.0.1:{ports[name]}/-/ready", folder / f"{name}.log")
        yield notifications


def _await_ready(url: str, log: Path) -> None:
    end_s = time.monotonic() + BUSY_S
    while time.monotonic() < end_s:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(log.read_text(errors="replace")[-2_000:])


def _faster(rules: str) -> str:
    def seconds(found: re.Match[str]) -> str:
        number, unit = found[1] or found[3], found[2] or found[4]
        return f"{max(1, int(number) * _SECONDS[unit] // FASTER)}s"

    return _TIME.sub(seconds, rules)


def _prometheus(folder: Path, exporter_port: int, alertmanager_port: int) -> str:
    config = yaml.safe_load((CONFIG / "prometheus" / "scrape.yml").read_text())
    (job,) = [each for each in config["scrape_configs"] if each["job_name"] == "facepay-fleet"]
    job |= {"scrape_interval": f"{SCRAPE_S}s", "scrape_timeout": f"{SCRAPE_S}s"}
    job["static_configs"] = [{"targets": [f"127.0.0.1:{exporter_port}"]}]
    config["rule_files"] = [str(folder / "rules.yml")]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [
        f"127.0.0.1:{alertmanager_port}"
    ]
    config["global"] = {"evaluation_interval": f"{SCRAPE_S}s"}
    config["scrape_configs"] = [job]
    return yaml.safe_dump(config)


def _alertmanager(webhook_port: int) -> str:
    text = (CONFIG / "alertmanager" / "facepay.yml").read_text()
    text = text.replace("127.0.0.1:9099", f"127.0.0.1:{webhook_port}")
    return text.replace("group_wait: 30s", "group_wait: 1s").replace(
        "group_interval: 5m", "group_interval: 3s"
    )
