"""The status line of the systemd unit."""

from agent.root.background_jobs import status_line


def test_status_line_names_the_causes_of_a_degraded_terminal() -> None:
    assert status_line("shop-1", "terminal-1", []) == "serving shop-1/terminal-1"
    degraded = status_line("shop-1", "terminal-1", ["camera_absent", "mqtt_unreachable"])
    assert degraded == "serving shop-1/terminal-1, degraded: camera_absent, mqtt_unreachable"
