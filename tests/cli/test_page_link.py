"""`facepay page` prints the link, and on a terminal window a QR code of a link that a phone can open."""

from __future__ import annotations

import io
import sys

import cv2
import numpy as np
import pytest

from agent.cli import status
from agent.cli.status import qr_lines
from agent.control import page_link

LAN = "https://terminal-1:8090/login#mJtUqcZV_F8xvz-pLqvTEvcvtAXC6D04GNj9xujDMr4"
LOOPBACK = LAN.replace("https://terminal-1", "http://127.0.0.1")


class Window(io.StringIO):
    """A stream of a terminal window."""

    def isatty(self) -> bool:
        return True


def decoded(lines: list[str]) -> str:
    """The text of a code that stands in these lines, as a phone reads it."""
    rows = np.empty((2 * len(lines), len(lines[0])), bool)
    for half, blocks in enumerate(("\u2588\u2580", "\u2588\u2584")):
        rows[half::2] = [[each in blocks for each in line] for line in lines]
    picture = np.where(np.kron(rows, np.ones((8, 8))), 0, 255).astype(np.uint8)
    return cv2.QRCodeDetector().detectAndDecode(np.pad(picture, 32, constant_values=255))[0]


def printed(url: str, monkeypatch: pytest.MonkeyPatch, window: type[io.StringIO]) -> tuple[str, str]:
    monkeypatch.setattr(page_link, "request_link", lambda _path: url)
    monkeypatch.setattr(status, "storage_of", lambda _config: None)
    monkeypatch.setattr("agent.control.server.path_for", lambda _directory: None)
    out, err = window(), window()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    status.page()
    return out.getvalue(), err.getvalue()


def test_qr_code_holds_the_link_and_fits_a_window_of_80_by_24() -> None:
    lines = qr_lines(LAN)
    assert decoded(lines) == LAN
    assert len(lines) <= 22 and max(map(len, lines)) <= 80


def test_window_shows_the_code_of_a_link_on_the_lan(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = printed(LAN, monkeypatch, Window)
    assert out == f"{LAN}\n", "stdout has only the link"
    assert all(line in err for line in qr_lines(LAN)) and "扫描" in err and "ssh -L" not in err


@pytest.mark.parametrize(
    ("url", "window"), [(LOOPBACK, Window), (LAN, io.StringIO)], ids=["loopback", "pipe"]
)
def test_no_code_where_a_phone_cannot_use_it(
    url: str, window: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = printed(url, monkeypatch, window)
    assert out == f"{url}\n" and "\u2588" not in err and "扫描" not in err
    assert ("ssh -L" in err) is (url == LOOPBACK)
