"""Checks of the config file and of the secret files that it names."""

import os
import stat
from pathlib import Path

from agent.config import Config
from agent.config import secret_files as secrets
from agent.config.profile import requires_signatures
from agent.config.secret_files import SecretState, secret_files, secret_state
from agent.core.reasons import Refusal
from agent.diagnostics.check import Finding, Verdict, consequence, failed, passed, skipped, warning
from agent.diagnostics.check_inputs import CheckInputs
from agent.errors import ConfigError
from agent.texts import Text

_SIGNATURE_REFUSALS = (Refusal.SIGNATURE_MISSING, Refusal.SIGNATURE_INVALID)
_TILLS_SHOWN = 3


def lint(inputs: CheckInputs) -> Finding:
    """Raises ``ConfigError`` with file, line and key for a config that cannot be loaded or may not run."""
    try:
        config = inputs.config()
    except ConfigError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        return failed(error.sentence, Text("fix.run_with_sudo", command="sudo facepay doctor"))
    inputs.check_runnable()
    risks = ", ".join(config.accepted_risks)
    summary = Text("why.config.lint.profile", profile=config.profile)
    if risks:
        summary = Text("why.config.lint.risks", profile=config.profile, risks=risks)
    if config.liveness.mode == "challenge" and not config.liveness.shading:
        summary = Text("why.config.lint.no_shading", found=summary)
    return passed(summary)


def files(inputs: CheckInputs) -> Finding:
    """Whether each secret file exists and is not empty."""
    config, unreadable = inputs.config(), []
    if config.compare.secret_key_file is None:
        return failed(
            Text("why.keys.files.not_set"), Text("fix.secret_not_set", key_="compare.secret_key_file")
        )
    for key, path in secret_files(config).items():
        state, why = secret_state(path)
        if state is SecretState.UNUSABLE:
            return failed(
                Text("detail.at", place=f"{key}: {path}", reason=why), Text("fix.secret_not_set", key_=key)
            )
        if state is SecretState.SERVICE_ONLY:
            unreadable.append(key)
    changed = _changed_since_start(inputs, config)
    if changed is not None:
        return changed
    if unreadable:
        return skipped(Text("why.keys.files.service_only", keys=", ".join(unreadable)))
    for key, path in secret_files(config).items():
        source = inputs.credentials().get(path.name) if secrets.is_credential(path) else None
        if source is not None and _is_outdated_copy(path, source):
            return failed(
                Text("why.keys.files.changed", key_=key, source=source), Text("fix.restart_for_secret")
            )
    folders = ", ".join(sorted({str(path.parent) for path in secret_files(config).values()}))
    return passed(Text("why.keys.files.exist", folders=folders))


def _changed_since_start(inputs: CheckInputs, config: Config) -> Finding | None:
    """The difference between the files and what the running agent has read; None without one."""
    status = inputs.status_if_answering() or {}
    key_finding = _signing_key(inputs, status.get("key_sha256"))
    if key_finding is not None:
        return key_finding
    stamps_at_start, paths = status.get("stamps", {}), secrets.files_at_start(config)
    for key, stamp in secrets.file_stamps(config).items():
        if stamp != stamps_at_start.get(key, stamp):
            why = Text("why.keys.files.changed", key_=key, source=paths[key])
            return warning(why, Text("fix.restart_for_changed_file"))
    return None


def _signing_key(inputs: CheckInputs, used: str | None) -> Finding | None:
    """``used``: the fingerprint of the running agent's key; None or empty: it is not known."""
    try:
        probe = inputs.signing_key()
    except PermissionError:
        return None
    path, keys = probe.path, probe.sha256
    if not used or used in keys[:1]:
        return None
    if used in keys:
        return warning(Text("why.keys.files.rotated", path=path), Text("fix.restart_for_new_key"))
    why = Text("why.keys.files.key_replaced" if keys else "why.keys.files.key_missing", path=path)
    return failed(why, Text("fix.restore_signing_key", path=path, kid=used[:16]))


def tills(inputs: CheckInputs) -> Finding:
    """Whether each till has a usable key, and whether the running agent refused a signature of a till."""
    keys, refused = _till_keys(inputs), _refused_signatures(inputs)
    return refused if refused is not None and keys.verdict in (Verdict.PASS, Verdict.SKIP) else keys


def _refused_signatures(inputs: CheckInputs) -> Finding | None:
    """The tills whose newest request had no signature, or one of another key; None without such a till."""
    document = inputs.status_if_answering() or {}
    # the status of an older agent has no such field
    refused = document.get("refused_tills", {}).items()
    tills = [f"{till} ({code})" for till, code in refused if code in _SIGNATURE_REFUSALS]
    if not tills:
        return None
    shown = ", ".join([*tills[:_TILLS_SHOWN], *(["…"] if len(tills) > _TILLS_SHOWN else [])])
    return warning(Text("why.keys.tills.refused", tills=shown), Text("fix.till_key_differs"))


def _till_keys(inputs: CheckInputs) -> Finding:
    """Without a usable key, each request is refused where all must be signed."""
    if not requires_signatures(inputs.config()):
        return skipped(Text("why.keys.tills.unsigned"))
    try:
        keys = inputs.till_keys()
    except PermissionError:
        return skipped(Text("why.keys.tills.denied"))
    if not any(keys.values()):
        return failed(Text("why.keys.tills.none"), Text("fix.till_key_missing"))
    unusable = [till for till, count in keys.items() if not count]
    if unusable:
        return warning(
            Text("why.keys.tills.unusable", tills=", ".join(unusable)), Text("fix.till_key_missing")
        )
    return passed(Text("why.keys.tills.trusted", count=len(keys)))


def _is_outdated_copy(credential: Path, source: Path) -> bool:
    """Whether systemd's copy is of an earlier content. A source that this user may not read is no finding."""
    try:
        return credential.read_bytes() != source.read_bytes()
    except OSError:
        return False


def without_secrets(config: Config, section: str) -> Finding | None:
    """Why a check that needs the secrets of ``section`` cannot run; None when it can run."""
    if section == "compare" and config.compare.secret_key_file is None:
        return consequence("keys.files")
    files = [path for key, path in secret_files(config).items() if key.startswith(f"{section}.")]
    states = {secret_state(path)[0] for path in files}
    if SecretState.UNUSABLE in states:
        return consequence("keys.files")
    if SecretState.SERVICE_ONLY in states:
        return skipped(Text("why.keys.section", section=section))
    return None


def permissions(inputs: CheckInputs) -> Finding:
    """Modes and owners of the secret files and of the state directory.

    Raises ``ConfigError`` for files that `facepay run` refuses. Fails also in profile demo, and for a secret
    that its group can change.
    """
    config = inputs.config()
    secrets.check_secret_files(config)
    for key, path in secret_files(config).items():
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # ``keys.files`` reports it
        if mode & stat.S_IRWXO or mode & stat.S_IWGRP:
            shown = f"{stat.S_IMODE(mode):04o}"
            why = Text("why.keys.permissions.secret_mode", key_=key, path=path, mode=shown)
            return failed(why, _chmod("600", path))
    secrets.check_state_directory(config)
    file = inputs.config_file
    if file is not None and (exposed := secrets.exposed_config(config, file)):
        return warning(exposed[1], _chmod("640", exposed[0]))
    return _state_directory(config.storage.directory)


def _state_directory(directory: Path) -> Finding:
    try:
        directory_stat = directory.stat()
        entries = [(path, path.lstat()) for path in directory.iterdir()]
    except FileNotFoundError:
        why = Text("why.keys.permissions.no_directory", directory=directory)
        return warning(why, Text("fix.state_directory_missing"))
    except PermissionError:
        return skipped(Text("why.keys.permissions.unreadable", directory=directory))
    if directory_stat.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        why = Text(
            "why.keys.permissions.mode", path=directory, mode=f"{stat.S_IMODE(directory_stat.st_mode):04o}"
        )
        return failed(why, _chmod("700", directory))
    for path, entry_stat in entries:
        if entry_stat.st_uid != directory_stat.st_uid:
            why = Text(
                "why.keys.permissions.other_user",
                path=path,
                user=entry_stat.st_uid,
                owner=directory_stat.st_uid,
            )
            command = f"chown --reference={path.parent} {path}"
            return failed(why, Text("fix.file_of_other_user", command=command))
        if entry_stat.st_mode & stat.S_IRWXO and not stat.S_ISLNK(entry_stat.st_mode):
            why = Text("why.keys.permissions.mode", path=path, mode=f"{stat.S_IMODE(entry_stat.st_mode):04o}")
            return failed(why, _chmod("600", path))
    if not os.access(directory, os.W_OK):
        return skipped(Text("why.keys.permissions.not_writable", directory=directory))
    return passed(Text("why.keys.permissions.private", directory=directory))


def _chmod(mode: str, path: Path) -> Text:
    return Text("fix.run_command", command=f"chmod {mode} {path}")
