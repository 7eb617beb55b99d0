"""Every end of a command has the documented exit code and output, and no traceback."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.messages.signing import Signer
from tests.brokers import Mosquitto
from tests.commands import Command, as_nobody, facepay

MODULES = "agent.cli.camera, agent.cli.keys, agent.cli.trace, agent.fleet.machine, agent.recorder.traces"
FACEPAY = [sys.executable, "-m", "agent.cli"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The config of a terminal without broker, API and agent. On a busy machine, a late frame is no fault."""
    (tmp_path / "secret").write_bytes(b"a secret")
    (tmp_path / "secret").chmod(0o600)
    path = tmp_path / "agent.toml"
    path.write_text(
        f"""
profile = "demo"
[camera]
stall_ms = 120000
[compare]
url = "http://127.0.0.1:9/face/compare"
appid = "1250000001"
secret_id = "AKIDEXAMPLEEXAMPLEEXAMPLE"
secret_key_file = "{tmp_path / "secret"}"
[mqtt]
port = 9
[storage]
directory = "{tmp_path / "state"}"
"""
    )
    return path


# The output of each command when it works: the test interrupts the command after this output.
LONG = [
    ("doctor --config {config}", "config.lint"),
    ("camera focus --config {config}", "Turn the lens"),
    ("camera light --watch --config {config}", "mean"),
    ("status --watch --json --config {config}", "status_socket_missing"),
    ("bundle --config {config} --output {folder}/bundle.tar.gz", "examining this terminal"),
    ("till watch --port {port}", "no message yet"),
]


@pytest.mark.parametrize(("command", "at_work"), LONG, ids=[each[0].split(" --")[0] for each in LONG])
def test_ctrl_c_exits_130_without_traceback(
    command: str, at_work: str, config: Path, tmp_path: Path, broker: Mosquitto
) -> None:
    """Also while checks run C++ code: a shutdown of the interpreter would abort the process.

    The signal is repeated, as by a person: an import can discard the exception.
    """
    words = shlex.split(command.format(config=config, folder=tmp_path, port=broker.port))
    output = tmp_path / "output"
    with output.open("wb") as out:
        process = Command(words, stdout=out.fileno(), stderr=out.fileno(), env={"PYTHONUNBUFFERED": "1"})
        try:
            while at_work not in output.read_text():
                assert process.poll() is None, output.read_text()
                time.sleep(0.02)
            for _ in range(6):
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                    break
            assert process.poll() == 130, output.read_text()
        finally:
            process.kill()
            process.wait()
            process.close()
    text = output.read_text()
    assert "Traceback" not in text and "terminate called" not in text and "FATAL" not in text


# Services end in order: the documented exception from 130.
SERVICES = [
    ("run --config {config}", "state_not_published"),
    ("fleet exporter --port {port} --listen 127.0.0.1:0", "http://127.0.0.1:"),
]


@pytest.mark.parametrize(("command", "at_work"), SERVICES, ids=["run", "fleet exporter"])
def test_ctrl_c_ends_a_service_with_0(
    command: str, at_work: str, config: Path, tmp_path: Path, broker: Mosquitto
) -> None:
    words, output = shlex.split(command.format(config=config, port=broker.port)), tmp_path / "output"
    with output.open("wb") as out, Command(words, stdout=out.fileno(), stderr=out.fileno()) as process:
        try:
            while at_work not in output.read_text():
                assert process.poll() is None, output.read_text()
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0, output.read_text()
        finally:
            process.kill()
    assert "Traceback" not in output.read_text()


@pytest.mark.parametrize("interrupted", ["_configure_output", "_application", "_report", "_exit"])
def test_ctrl_c_at_any_time_exits_130(interrupted: str) -> None:
    """Also inside ``exec``, as in the import of a dataclass: there `python -m` ended by the signal."""
    code = f"""
from agent.cli import command_line as cli

def interrupt(*_):
    cli.{interrupted} = original
    exec("raise KeyboardInterrupt")

def refuse(_):
    raise cli.StorageError("no disk")

original, cli._application = cli.{interrupted}, refuse
cli.{interrupted} = interrupt
cli.run_process()
"""
    done = facepay(code=code)
    assert done.returncode == 130 and "Traceback" not in done.stderr, done


@pytest.mark.parametrize("module", ["agent.log", "typer"])
def test_ctrl_c_during_the_import_of_the_commands_exits_130(module: str) -> None:
    code = f"""
import sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "{module}":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from agent.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.parametrize(
    "command",
    ["--help", "config show", "doctor --config {config}", "privacy-audit --config {config} --json"],
)
def test_closed_pipe_causes_no_traceback(command: str, config: Path) -> None:
    words = shlex.split(command.format(config=config))
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` does, at once
    with tempfile.TemporaryFile() as errors:
        with Command(words, stdout=writer, stderr=errors.fileno()) as process:
            os.close(writer)
            code = process.wait(60)
        errors.seek(0)
        assert (code, errors.read()) == (1, b"")


# The numbers of the closed streams, and that of the stream whose output is compared.
CLOSED = [("1", 2), ("012", None), ("2", 1), ("0", 1)]
# facepay as an interpreter starts it without the streams of the first argument
WITHOUT_STREAMS = """
import os, sys
for number in map(int, sys.argv.pop(1)):
    os.close(number)
    setattr(sys, ("stdin", "stdout", "stderr")[number], None)
from agent.cli import main
main()
"""


def in_a_fork(words: list[str], closed: str, left: int | None, output: Path) -> int:
    with output.open("wb") as out, Path(os.devnull).open("wb") as other:
        stdout, stderr = ((out if left == fd else other).fileno() for fd in (1, 2))
        words, code = [closed, *words], WITHOUT_STREAMS
        with Command(words, stdout=stdout, stderr=stderr, code=code, frees_modules=False) as command:
            return command.wait(120)


def in_a_shell(words: list[str], closed: str, left: int | None, output: Path) -> int:
    redirections = " ".join(f"{fd}{'<' if fd == '0' else '>'}&-" for fd in closed)
    shell = f"{shlex.join([*FACEPAY, *words])} {redirections}" + (f" {left}>{output}" if left else "")
    return subprocess.run(["bash", "-c", shell], check=False, cwd=Path.cwd(), timeout=120).returncode


@pytest.mark.parametrize(
    ("run", "command"),
    [
        (in_a_shell, "status --config {config}"),
        (in_a_fork, "doctor --config {config}"),
        (in_a_fork, "camera light --config {config}"),
    ],
)
def test_closed_stream_changes_no_exit_code_and_no_other_output(
    run: Callable[[list[str], str, int | None, Path], int], command: str, config: Path, tmp_path: Path
) -> None:
    """One command in a shell: there the interpreter itself starts without stdout, then without any stream."""
    words = shlex.split(command.format(config=config))
    normal, output = facepay(*words), tmp_path / "output"
    for closed, left in CLOSED[:2] if run is in_a_shell else CLOSED:
        assert run(words, closed, left, output) == normal.returncode, closed
        if left:
            expected = normal.stdout if left == 1 else normal.stderr
            assert len(output.read_text().splitlines()) == len(expected.splitlines()), closed


def test_closed_streams_give_their_numbers_to_no_later_file() -> None:
    code = (
        "from agent.cli import command_line as cli\n"
        "cli._open_missing_streams()\n"
        "import os, socket\n"
        "numbers = [os.open('/dev/zero', os.O_RDONLY), socket.socket().detach()]\n"
        "ends = [os.readlink(f'/proc/self/fd/{fd}') for fd in range(3)]\n"
        "os._exit(0 if min(numbers) > 2 and set(ends) == {'/dev/null'} else 1)\n"
    )
    shell = f"{shlex.join([sys.executable, '-c', code])} <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", shell], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("command", ["--help", "config show", "doctor --config {config} --json"])
def test_full_disk_behind_a_redirection_is_one_sentence(command: str, config: Path) -> None:
    words = shlex.split(command.format(config=config))
    with Path("/dev/full").open("wb") as full, tempfile.TemporaryFile() as errors:
        with Command(words, stdout=full.fileno(), stderr=errors.fileno()) as process:
            code = process.wait(60)
        errors.seek(0)
        output = errors.read().decode()
    assert code == 1 and "Traceback" not in output
    assert not output or output.startswith("output_failed: ")


LOST_INTERRUPT = """
import signal, time
from agent.cli import command_line

signal.signal(signal.SIGINT, signal.default_int_handler)  # a command in the background ignores it

class Importing:
    def __del__(self):
        raise KeyboardInterrupt

def run():
    Importing()  # the exception is discarded
    time.sleep(60)

command_line._run = run
command_line.run_process()
"""


def test_ctrl_c_that_c_code_discards_ends_the_command_without_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOST_INTERRUPT], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (130, b"")


@contextlib.contextmanager
def demo_with(
    handlers: dict[signal.Signals, str], created: str
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A demo in its own process group, and its TMPDIR, which contains a file that matches ``created``.

    ``handlers``: names in ``signal``. The tests themselves can run in the background or under nohup.
    """
    start = "import signal, sys; from agent.cli import main; sys.argv[0] = 'facepay'; "
    start += "".join(f"signal.signal({number.value}, signal.{name}); " for number, name in handlers.items())
    with tempfile.TemporaryDirectory() as short:  # a socket needs a short path
        folder, env = Path(short), os.environ | {"TMPDIR": short}
        with subprocess.Popen(
            [sys.executable, "-c", f"{start}main()", "demo"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,
        ) as demo:
            deadline = time.monotonic() + 60
            while not list(folder.glob(created)) and time.monotonic() < deadline:
                time.sleep(0.01)
            yield demo, folder


@pytest.mark.parametrize(("number", "in_background"), [(signal.SIGTERM, True), (signal.SIGHUP, False)])
def test_a_terminated_command_deletes_its_temporary_folder(
    number: signal.Signals, in_background: bool
) -> None:
    """SIGHUP: the terminal window or the ssh connection was closed. In a script, ``&`` ignores SIGINT."""
    interrupt = "SIG_IGN" if in_background else "default_int_handler"
    with demo_with({number: "SIG_DFL", signal.SIGINT: interrupt}, "*") as (demo, folder):
        demo.send_signal(number)
        output = demo.communicate(timeout=60)[1]
        assert demo.returncode == 130 and b"Traceback" not in output, output
        assert not list(folder.iterdir())


def test_ctrl_c_during_the_start_of_the_demo_is_no_failure_of_its_broker() -> None:
    """A terminal sends Ctrl-C to each process of the command, so to the broker, too."""
    with demo_with({signal.SIGINT: "default_int_handler"}, "*/broker.toml") as (demo, folder):
        os.killpg(demo.pid, signal.SIGINT)
        output = demo.communicate(timeout=60)[1]
        assert (demo.returncode, output) == (130, b"")
        assert not list(folder.iterdir())


@pytest.mark.parametrize("command", ["demo", "till simulate", "till conformance --key k.pem"])
def test_temporary_folder_with_a_long_path_is_one_sentence(command: str, tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 90)
    folder.mkdir()
    done = facepay(*command.split(), TMPDIR=str(folder))
    assert done.returncode == 78 and "TMPDIR" in done.stderr and "Traceback" not in done.stderr
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    "command", ["config check --config missing.toml", "status --config {config}", "nosuch"]
)
def test_full_disk_behind_stderr_keeps_the_exit_code(command: str, config: Path) -> None:
    words = shlex.split(command.format(config=config))
    expected = facepay(*words).returncode
    with Path("/dev/full").open("wb") as full, Command(words, stderr=full.fileno()) as process:
        assert process.wait(60) == expected and expected > 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk"])
@pytest.mark.parametrize(
    "command", ["doctor --config {config} --only keys.files", "camera light --config {config}"]
)
def test_output_encoding_other_than_utf_8_gets_plain_characters(
    command: str, encoding: str, config: Path
) -> None:
    words = shlex.split(command.format(config=config))
    done = facepay(*words, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "+ keys.files" in done.stdout or "light" in done.stdout


@pytest.mark.parametrize("command", ["doctor", "status", "why"])
def test_ascii_output_has_no_replaced_letters_of_a_language(command: str, config: Path) -> None:
    words = [*command.split(), "--config", str(config)]
    plain, complete = facepay(*words, PYTHONIOENCODING="ascii"), facepay(*words)
    assert plain.returncode == complete.returncode
    for text in (plain.stdout, plain.stderr):
        assert "??" not in text, text
    assert any(ord(each) > 0x3000 for each in complete.stdout + complete.stderr)


@pytest.mark.parametrize(
    "command", ["config check", "config show", "status", "metrics", "why", "bundle", "run"]
)
def test_unreadable_config_is_named_with_a_fix(command: str, tmp_path: Path) -> None:
    """A missing file, a directory, a binary file: with every command that reads a config."""
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\x7fELF\xff\xfe\x00")
    for path, words in (
        (tmp_path / "none.toml", f"config_unreadable: {tmp_path}/none.toml: cannot be read: No such file"),
        (tmp_path, f"config_unreadable: {tmp_path}: cannot be read: Is a directory"),
        (binary, f"config_invalid: {binary}:1: byte 0xff is not UTF-8"),
    ):
        done = facepay(*command.split(), "--config", path)
        assert (done.returncode, done.stdout) == (78, "")
        assert done.stderr.startswith(words) and "\nfix: " in done.stderr and "\n处理: " in done.stderr
        assert "Traceback" not in done.stderr
        if words.startswith("config_unreadable"):
            assert "--config" in done.stderr.splitlines()[1], "the way out is another file, not another line"


def test_without_a_home_and_without_any_environment_it_works(config: Path) -> None:
    command = [*FACEPAY, "doctor", "--config", str(config), "--only", "config.lint"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env={})
    assert done.returncode == 0 and done.stderr == "" and "✓ config.lint" in done.stdout


def test_a_narrow_terminal_gets_narrow_help() -> None:
    for words in ([], ["doctor"], ["camera", "shot"], ["till", "simulate"]):
        done = facepay(*words, "--help", COLUMNS="60", TERMINAL_WIDTH="60")
        assert done.returncode == 0 and max(map(len, done.stdout.splitlines())) <= 60


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("compare {junk} {junk}", "face_unusable"),
        ("reference check {junk}", "reference_unusable"),
        ("till verify {junk} --key {junk}", "key_unusable"),
        ("keys trust till-1 {junk} --config {config}", "key_unusable"),
        ("trace replay {junk}", "storage_unavailable"),
        ("camera shot {folder} --config {config}", "file_exists"),
        ("camera shot /nowhere/look.jpg --config {config}", "file_unwritable"),
        ("bundle --output /nowhere/b.tar.gz --config {config}", "file_unwritable"),
        ("compare conformance --url http://127.0.0.1:9", "account_missing"),
    ],
)
def test_files_of_a_wrong_type_are_named_with_a_fix(
    command: str, code: str, config: Path, tmp_path: Path
) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(bytes(range(256)) * 8)
    done = facepay(*shlex.split(command.format(junk=junk, config=config, folder=tmp_path)))
    output = done.stderr.removeprefix("examining this terminal, some seconds …\n") or done.stdout
    assert done.returncode in (1, 78) and output.startswith(f"{code}: "), done
    assert "\nfix: " in output and "\n处理: " in output and "Traceback" not in done.stderr
    assert "[mqtt]" not in output, "advice about something else"


DENIED = [
    "why",
    "keys show",
    "keys rotate",
    "keys bind",
    "keys trust till-1 {key}",
    "trace show",
    "trace replay {state}/traces/1.jsonl",
    "camera light",
]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without rights")
@pytest.mark.parametrize("command", DENIED)
def test_a_user_without_rights_reads_the_command_with_sudo(
    command: str, config: Path, tmp_path: Path
) -> None:
    """The config is readable and the state directory is not, as after `chmod` of the config by hand."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:  # pytest's own folder is closed to others
        folder = Path(name)
        folder.chmod(0o755)
        text = config.read_text().replace(str(tmp_path), name)
        (folder / "agent.toml").write_text(text)
        state, key = folder / "state", folder / "key.pem"
        key.write_bytes(Signer.load_or_create(state).public.pem())
        for readable in (folder / "agent.toml", key):
            readable.chmod(0o644)  # with any umask
        (state / "traces").mkdir(mode=0o700)
        (state / "last-verification.json").touch(mode=0o600)
        words = shlex.split(command.format(key=key, state=state))
        done = as_nobody(*words, "--config", folder / "agent.toml", modules=MODULES)
    assert done.returncode in (1, 4) and "sudo" in done.stderr, done
    assert "\nfix: " in done.stderr and "\n处理: " in done.stderr and "Traceback" not in done.stderr
