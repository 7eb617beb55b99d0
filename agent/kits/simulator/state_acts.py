"""What a simulated terminal does with its ``state`` to test a till: forgeries, and no retained message."""

from typing import Any

from agent.kits.simulator.state_forgeries import forged_states
from agent.kits.simulator.terminal import SimulatedTerminal
from agent.messages.encode import state
from agent.messages.signing import Signer
from agent.messages.topics import STATE_COPY
from agent.mqtt.paho_client import Message
from agent.till.state_publisher import StatePublisher


async def send_state(
    terminal: SimulatedTerminal, fields: dict[str, Any], signer: Signer | None = None
) -> None:
    """Publish a ``state`` with other fields once, not retained. ``signer``: in place of the own key."""
    payload = state("online", terminal.identity, terminal.state_fields() | fields, signer or terminal.key)
    await terminal.till.connection.publish(Message(terminal.till.topics.state, payload))


async def send_forged_states(terminal: SimulatedTerminal, till: str) -> None:
    """Publish forged ``state`` messages to a till. ``restore_state`` ends their effect."""
    terminal.till.state.retained = False  # otherwise the terminal corrects the topic after a second
    topics = terminal.till.topics
    fields = terminal.state_fields()
    for payload in forged_states(terminal.identity, fields, terminal.key, terminal.unknown_key):
        for topic in (topics.state, topics.verify(till, STATE_COPY)):
            await terminal.till.connection.publish(Message(topic, payload))


async def restart_unretained(terminal: SimulatedTerminal) -> None:
    """Restart with a new epoch and no retained ``state``, until ``restore_state``."""
    await terminal.restart(retained=False)
    await terminal.wait_for_connection()
    await terminal.till.connection.publish(
        Message(terminal.till.topics.state, b"", retained=True)
    )  # the will


def lose_copies(publisher: StatePublisher, count: int) -> list[str]:
    """Send none of the next ``count`` copies of ``state``, as a network that loses messages.

    Returns the list that receives the till of each lost copy.
    """
    lost, send_copy = list[str](), publisher.send_copy

    def send_or_lose(till: str) -> None:
        if len(lost) < count:
            lost.append(till)
        else:
            send_copy(till)

    publisher.send_copy = send_or_lose  # type: ignore[method-assign]
    return lost


async def restore_state(terminal: SimulatedTerminal) -> None:
    """Publish the true ``state``, retained."""
    terminal.till.state.retained = True
    await terminal.till.state.announce()
