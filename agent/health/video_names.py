"""Names of video devices that stay the same after replugging, from the links that udev makes.

``/dev/video0`` depends on the order of connection. ``/dev/v4l/by-id`` contains vendor, model and serial
number. All cameras of a cheap model may have one serial number: then udev makes one link for all of them, and
the link may lead to another camera after the next start. ``/dev/v4l/by-path`` contains the USB port instead.
"""

from pathlib import Path


def stable_name(root: Path, device: Path) -> Path:
    """The name of the device for the config: by-id, by-path when cameras share one id, else ``device``.

    Args:
        root: the folder with ``dev`` and ``sys``.
        device: a node or a link under ``root``; need not exist.
    """
    by_id, by_path = _links(root, "by-id"), _links(root, "by-path")
    node = device.resolve()
    without_id = by_path.keys() - by_id.keys()
    # another node with the same model and function, but no link by id: both share one id
    is_shared = any(_model(root, other) == _model(root, node) for other in without_id)
    if node in by_path and (node not in by_id or is_shared):
        return by_path[node]
    return by_id.get(node, device)


def _links(root: Path, kind: str) -> dict[Path, Path]:
    """Device node -> the first link of this kind."""
    return {path.resolve(): path for path in sorted((root / "dev/v4l" / kind).glob("*"), reverse=True)}


def _model(root: Path, node: Path) -> tuple[str, ...]:
    """Name and index within the camera, as the kernel reports them; a missing file counts as empty."""
    folder = root / "sys/class/video4linux" / node.name
    return tuple(_read_text(folder / name) for name in ("name", "index"))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
