"""The cost of a fleet on one broker: ``python -m tests.bench.fleet`` writes docs/reference/fleet.md.

One mosquitto with TLS and default persistence, and `facepay till load` as a separate process, both on this
machine. CPU and memory of the broker are from /proc; written bytes are the size of its database at the end.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.report import machine, machine_line
from tests.broker_example.pki import Authority
from tests.brokers import MOSQUITTO, Mosquitto

SIZES = (100, 500, 1_000, 2_000, 5_000)
RATE, SECONDS = 200, 20
RESULTS = Path(__file__).parent / "results" / "fleet.json"
PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "fleet.md"
TICKS = os.sysconf("SC_CLK_TCK")
COLUMNS = (
    ("terminals", "terminals"),
    ("requests", "requests"),
    ("lost", "lost"),
    ("p50_ms", "p50 ms"),
    ("p99_ms", "p99 ms"),
    ("longest_ms", "longest ms"),
    ("connect_s", "connect s"),
    ("broker_cpu_percent", "broker CPU % of a core"),
    ("broker_rss_mib", "broker RSS MiB"),
    ("broker_written_mib", "broker wrote MiB"),
)

FACTS = ("machine", "broker", "rate", "seconds")
TEMPLATE = """# A fleet on one broker

The figures are from one run of `python -m tests.bench.fleet`: {seconds} s per size, {rate} requests/s over
all terminals, on {machine}. {broker}: TLS (server certificate), default persistence (`persistence true`,
autosave every 30 minutes and at the end), `set_tcp_nodelay true`. Client and broker share the machine. Each
terminal has a connection, a retained `state` and a last will. Each result is signed and acknowledged. Each
time is measured from the publish of the till to the receipt of the result.

{head}{rows}
"Wrote" is the size of the broker's database after the broker stopped. Goal: 2 000 terminals, 200
requests/s, no lost request, p99 at most 50 ms. Not measured: other machines, client certificates, a network
between client and broker, terminals that analyze faces, runs of several hours.

Without `set_tcp_nodelay true` on the broker the same round trip took 42 ms (p50 of 150, 50 terminals). The
cause is Nagle's algorithm together with delayed ACKs. The connections of this project always set
TCP_NODELAY, and so does the broker example.

Test your own broker: `facepay till load --terminals 500 --rate 50 --seconds 20 --port 8885 --ca-file
broker-ca.pem`, with `--cert-file` and `--key-file` if the listener requires a certificate. `--ca-file` names
the CA of the broker's certificate. Use a separate listener for the test: the listeners of the broker example
bind one client id to each certificate, and the test has a connection for each simulated terminal and till.
"""


def measure(terminals: int, folder: Path) -> dict[str, Any]:
    """The figures for one number of terminals, with a new broker."""
    folder.mkdir()
    authority = Authority(folder, "ca")
    server = authority.issue("broker", "server")
    files = (f"cafile {authority.path}", f"certfile {server.cert}", f"keyfile {server.key}")
    lines = ("persistence true", f"persistence_location {folder}/", "set_tcp_nodelay true")
    broker = Mosquitto(folder, *files, *lines).start()
    try:
        before_s = _cpu_s(broker.pid)
        command = [sys.executable, "-m", "agent.cli", "till", "load", "--json", "--port", str(broker.port)]
        command += ["--terminals", str(terminals), "--rate", str(RATE), "--seconds", str(SECONDS)]
        command += ["--ca-file", str(authority.path)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300, check=False)
        cpu_s = _cpu_s(broker.pid) - before_s
        report: dict[str, Any] = json.loads(done.stdout)
        rss_mib = _field(f"/proc/{broker.pid}/status", "VmHWM:") / 1_024
        broker.stop()  # writes the database
        written = sum(path.stat().st_size for path in folder.glob("*.db"))
    finally:
        broker.stop()
    return report | {
        "broker_cpu_percent": round(100 * cpu_s / (report["seconds"] + report["connect_s"]), 1),
        "broker_rss_mib": round(rss_mib, 1),
        "broker_written_mib": round(written / 2**20, 2),
    }


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _field(path: str, name: str) -> int:
    (line,) = [line for line in Path(path).read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1])


def page(measured: dict[str, Any]) -> str:
    """The page of one run."""
    head = "| " + " | ".join(title for _, title in COLUMNS) + " |\n" + "|---:" * len(COLUMNS) + "|\n"
    lines = [" | ".join(str(row[name]) for name, _ in COLUMNS) for row in measured["rows"]]
    rows = "".join(f"| {line} |\n" for line in lines)
    return TEMPLATE.format(head=head, rows=rows, **{name: measured[name] for name in FACTS})


def main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))  # inherited by the broker
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for terminals in SIZES:
            rows.append(measure(terminals, Path(name) / str(terminals)))
            print(json.dumps(rows[-1]), flush=True)
    version_text = subprocess.run([MOSQUITTO, "-h"], capture_output=True, text=True, check=False).stdout
    measured = {
        "machine": machine_line(machine()),
        "broker": version_text.splitlines()[0],
        "rate": RATE,
        "seconds": SECONDS,
        "rows": rows,
    }
    RESULTS.write_text(json.dumps(measured, indent=1) + "\n")
    PAGE.write_text(page(measured))


if __name__ == "__main__":
    main()
