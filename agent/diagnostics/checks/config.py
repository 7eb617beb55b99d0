"""The config file, and the files with secrets that it names."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from agent.config import Config
from agent.config.secret_files import Kept, check_state_directory, exposed_config, kept, secret_files
from agent.diagnostics.check import Finding, consequence, failed, passed, skipped, warning
from agent.diagnostics.world import World
from agent.texts import Text


def lint(world: World) -> Finding:
    """Loading raises ``ConfigError`` with file, line and key; so does what `facepay run` would refuse."""
    config = world.config()
    world.judge()
    risks = ", ".join(config.accepted_risks)
    return passed(f"profile {config.profile}" + (f", accepted risks: {risks}" if risks else ""))


def files(world: World) -> Finding:
    """Are the secrets there, and readable?"""
    config, unseen = world.config(), []
    if config.compare.secret_key_file is None:
        return failed("compare.secret_key_file is not set", _name_it("compare.secret_key_file"))
    for key, path in secret_files(config).items():
        state, words = kept(path)
        if state is Kept.LACKING:
            return failed(f"{key}: {path}: {words}", _name_it(key))
        if state is Kept.UNSEEN:
            unseen.append(key)
    if unseen:
        return skipped(f"only the service may read {', '.join(unseen)}; sudo may look at more")
    return passed("all there")


def without_secrets(config: Config, section: str) -> Finding | None:
    """For a check that needs the secrets of one section: why it cannot run; None when it can."""
    if section == "compare" and config.compare.secret_key_file is None:
        return consequence("keys.files")
    states = {kept(path)[0] for key, path in secret_files(config).items() if key.startswith(f"{section}.")}
    if Kept.LACKING in states:
        return consequence("keys.files")
    if Kept.UNSEEN in states:
        return skipped(f"only the service may read the keys of [{section}]; start it, or use sudo")
    return None


def _name_it(key: str) -> Text:
    return Text("fix.secret_not_set", key_=key)


def permissions(world: World) -> Finding:
    """Modes and owners of the secrets and of the storage directory."""
    config = world.config()
    for key, path in secret_files(config).items():
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # ``keys.files`` says it
        if mode & stat.S_IRWXO or mode & stat.S_IWGRP:
            return failed(f"{key}: {path} has mode {stat.S_IMODE(mode):04o}", _chmod("600", path))
    check_state_directory(config)
    file = world.config_file
    if file is not None and (words := exposed_config(config, file)):
        return warning(words, _chmod("640", file))
    return _storage(config.storage.directory)


def _storage(directory: Path) -> Finding:
    try:
        about = directory.stat()
        inside = [(path, path.lstat()) for path in directory.iterdir()]
    except FileNotFoundError:
        return warning(f"{directory} does not exist yet", _start())
    except PermissionError:
        return skipped(f"this user may not look into {directory}; sudo may")
    if about.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        return failed(f"{directory} has mode {stat.S_IMODE(about.st_mode):04o}", _chmod("700", directory))
    for path, each in inside:
        if each.st_uid != about.st_uid:
            return failed(
                f"{path} belongs to user {each.st_uid}, its directory to {about.st_uid}", _chown(path)
            )
        if each.st_mode & stat.S_IRWXO and not stat.S_ISLNK(each.st_mode):
            return failed(f"{path} has mode {stat.S_IMODE(each.st_mode):04o}", _chmod("600", path))
    if not os.access(directory, os.W_OK):
        return skipped(f"{directory} is not this user's: whether the service may write there is not known")
    return passed(f"secrets and {directory} are for their owner alone")


def _chmod(mode: str, path: Path) -> Text:
    return Text("fix.run_command", command=f"chmod {mode} {path}")


def _chown(path: Path) -> Text:
    command = f"chown --reference={path.parent} {path}"
    return Text("fix.file_of_other_user", command=command)


def _start() -> Text:
    return Text("fix.state_directory_missing")
