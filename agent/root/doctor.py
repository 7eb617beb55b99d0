"""The ``CheckInputs`` of `facepay doctor`: the adapters behind the checks."""

import os
import re
import ssl
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from agent import event_loop
from agent.config import Config, MqttConfig
from agent.config.file import load
from agent.config.secret_files import secret_files, with_credential_sources
from agent.config.tls_files import TLS_FILE_UNUSABLE
from agent.control import server as status_socket
from agent.control.camera import request_mounting
from agent.core.model import Frame
from agent.diagnostics.check_inputs import CheckInputs, run_program
from agent.diagnostics.checks.agent import UNIT
from agent.errors import AgentNotRunning, CameraError, ConfigError, ModelError, TillError
from agent.health.board import is_synchronised
from agent.health.frame_meter import FrameMeter
from agent.health.probe_results import (
    BrokerProbe,
    CameraProbe,
    CertificateProbe,
    ModelProbe,
    MountingReading,
    SigningKeyProbe,
)
from agent.messages.keyring import Keyring
from agent.messages.rotation import fingerprints
from agent.messages.signing import KEY_FILE, Signer
from agent.messages.topics import Topics
from agent.mqtt.certificate import read_certificate
from agent.mqtt.paho_client import tls_context
from agent.mqtt.selftest import BrokerSelfTest
from agent.outbox.inspect import inspect_outbox
from agent.root.cameras import make_brightness_check, make_camera
from agent.root.liveness import make_liveness_models
from agent.root.runnable_config import (
    check_parts,
    check_photos,
    check_placeholders,
    load_runnable_config,
    with_location,
)
from agent.root.wiring import BootClock, make_compare
from agent.texts import Text
from agent.vision.detector_check import check_models, check_mounting, scene_sharpness

_CAMERA_S = 3.0  # longer than the detection of a frozen picture
_CALL_TIMEOUT_MS = 5_000


def inputs_from_file(path: Path, *, must_be_runnable: bool = True) -> CheckInputs:
    """Reads no file and opens no device; a check does. ``must_be_runnable``: else any valid config."""
    return inputs_from_config(
        cache(lambda: _load_config(path) if must_be_runnable else load(path, Config)), path
    )


def inputs_from_config(config: Callable[[], Config], path: Path | None = None) -> CheckInputs:
    """As ``inputs_from_file``, for a config that is in force already. ``path``: the file of the config."""
    return CheckInputs(
        config=config,
        check_runnable=lambda: _check_runnable(config(), path),
        status=cache(lambda: _agent_status(config())),
        model=cache(lambda: _check_models(config())),  # the check of the speed reads it, too
        camera=cache(lambda: event_loop.run(_probe_camera(config()))),  # several checks share one probe
        mounting=cache(lambda: request_mounting(_status_socket(config()))),
        call_api=lambda: event_loop.run(_call_api(config())),
        broker_trust=lambda: _broker_trust(config().mqtt),
        broker=cache(lambda: event_loop.run(_test_broker(config()))),
        outbox=lambda: inspect_outbox(config().storage.directory),
        certificate=lambda: _certificate(config().mqtt),
        till_keys=lambda: Keyring(config().storage.directory).usable(),
        signing_key=lambda: _signing_key(config().storage.directory),
        credentials=_credential_sources,
        is_synchronised=is_synchronised,
        config_file=path,
    )


def _load_config(path: Path) -> Config:
    """For root while the service is down: with the files from which systemd makes the credentials."""
    config = load_runnable_config(path, is_local=False)
    if os.geteuid() != 0 or all(file.exists() for file in secret_files(config).values()):
        return config
    return with_credential_sources(config, _credential_sources())


def _credential_sources() -> dict[str, Path]:
    """``LoadCredential=NAME:FILE`` of the unit and its drop-ins. ``systemctl show`` prints none of them."""
    unit = run_program("systemctl", "cat", UNIT) or ""
    return {name: Path(file) for name, file in re.findall(r"(?m)^LoadCredential=([^:\s]+):(\S+)", unit)}


def _signing_key(directory: Path) -> SigningKeyProbe:
    """Raises ``PermissionError``, ``TillError``."""
    path = directory / KEY_FILE
    try:
        path.stat()
    except FileNotFoundError:
        return SigningKeyProbe(path, ())
    try:
        return SigningKeyProbe(path, fingerprints(directory, Signer.load(path)))
    except TillError as error:
        if isinstance(error.__cause__, PermissionError):
            raise error.__cause__ from error
        raise


def _check_runnable(config: Config, path: Path | None) -> None:
    """Raise what `run` refuses, except for files.

    The checks keys.*, net.tls, mqtt.tls and mqtt.certificate name the files.
    """
    try:
        check_placeholders(config)
        check_photos(config)
        check_parts(config)
    except ConfigError as error:
        if error.code == TLS_FILE_UNUSABLE:
            return
        raise (error if path is None else with_location(error, path)) from error


def _check_models(config: Config) -> ModelProbe:
    """All models that the config uses. Raises ``ModelError``."""
    make_liveness_models(config)
    return check_models(config.vision)


def _status_socket(config: Config) -> Path:
    return status_socket.path_for(config.storage.directory)


def _agent_status(config: Config) -> dict[str, Any]:
    return status_socket.agent_status(config.storage.directory)


async def _probe_camera(config: Config) -> CameraProbe:
    """Three seconds of frames. Raises ``CameraError``: the camera is absent, busy or delivers no frame."""
    clock, watch = BootClock(), make_brightness_check(config.camera)
    camera = make_camera(config.camera, clock)
    meter, newest, frames, frozen = FrameMeter(), Frame(None, 0, 0, 0, 0), 0, False
    try:
        camera.start()
        until_ms = clock.now_ms() + round(_CAMERA_S * 1e3)
        while clock.now_ms() < until_ms:
            newest = await camera.next_frame(newest.seq)
            health = watch.check(newest)
            meter.add_frame(newest, health)
            frozen = health.frozen
            frames += 1
    finally:
        camera.stop()
    if not frames:
        raise CameraError(Text("detail.camera_no_frame"))
    measured = meter.facts(clock.now_ms())
    try:
        mounting = check_mounting(config.vision, newest.pixels)
    except ModelError:  # model.integrity names the fault
        mounting = MountingReading(scene_sharpness(newest.pixels))
    return CameraProbe(frames, measured["fps"], measured["mean_luma"], mounting, frozen)


async def _call_api(config: Config) -> None:
    """One signed call without a picture, made and parsed by the agent's own client."""
    client = make_compare(config, BootClock())
    try:
        await client.check(_CALL_TIMEOUT_MS)
    finally:
        await client.close()


async def _test_broker(config: Config) -> BrokerProbe:
    def agent_runs() -> bool:
        """Whether an agent runs now; ``CheckInputs.status`` is cached. Raises ``StatusError``."""
        try:
            _agent_status(config)
        except AgentNotRunning:
            return False
        return True

    return await BrokerSelfTest(config.mqtt, Topics(config.site, config.terminal), agent_runs).run()


def _broker_trust(mqtt: MqttConfig) -> ssl.SSLContext:
    if not mqtt.tls:
        raise ConfigError(Text("detail.tls_off"))
    return tls_context(mqtt)


def _certificate(mqtt: MqttConfig) -> CertificateProbe | None:
    return read_certificate(mqtt.cert_file) if mqtt.tls and mqtt.cert_file is not None else None
