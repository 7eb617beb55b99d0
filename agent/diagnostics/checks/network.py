"""Checks of the connection to the compare API: name, port, certificate."""

from __future__ import annotations

import socket
from pathlib import Path

import certifi

from agent.config.tls_files import client_context
from agent.diagnostics.check import Finding, failed, passed, skipped
from agent.diagnostics.checks.tls import URL, Keys, handshake
from agent.diagnostics.endpoint_probe import Endpoint, addresses, connect, is_address
from agent.diagnostics.world import World
from agent.errors import ConfigError
from agent.texts import Text


def endpoint(world: World) -> Endpoint:
    """Raises ``ConfigError``."""
    try:
        return Endpoint.of(world.config().compare.url)
    except ValueError as error:
        raise ConfigError(f"compare.url: {error}") from error


def dns(world: World) -> Finding:
    where = endpoint(world)
    if is_address(where.host):
        return passed(f"{where.host} needs no name server")
    try:
        found = addresses(world, where.host, where.port)
    except OSError as error:
        return unresolved(where.host, error)
    return passed(f"{where.host} is {found[0][4][0]}")


def unresolved(host: str, error: OSError) -> Finding:
    reasons = {socket.EAI_NONAME: "no such name", socket.EAI_AGAIN: "the name server does not answer"}
    reason = reasons.get(error.errno or 0, error.strerror or str(error))
    if isinstance(error, TimeoutError):
        reason = "the name server never answers"
    return failed(f"{host}: {reason}", Text("fix.name_not_resolved"))


def tcp(world: World) -> Finding:
    where = endpoint(world)
    try:
        connect(addresses(world, where.host, where.port)).close()
    except OSError as error:
        return unconnected(where, error, "[compare] url")
    return passed(f"{where} accepts connections")


def unconnected(where: Endpoint, error: OSError, key: str) -> Finding:
    """No TCP connection is possible. ``key``: the config key of the address."""
    if isinstance(error, ConnectionRefusedError):  # then cable, name and route are correct
        why = f"{where}: connection refused: the machine answers, no program listens"
        return failed(why, Text("fix.port_refuses", key_=key))
    reason = error.strerror or error
    if isinstance(error, TimeoutError):
        reason = "no answer: wrong address, or a firewall in between"
    return failed(f"{where}: {reason}", Text("fix.host_unreachable", key_=key))


def tls(world: World) -> Finding:
    where, config = endpoint(world), world.config().compare
    if not where.tls:
        return skipped("plain http")
    context = client_context("compare.ca_file", config.ca_file or Path(certifi.where()))  # as the agent
    return handshake(world, where, context, Keys("[compare] url", "compare.ca_file"), URL)
