"""Paths of state directories: which paths an agent can use on every start. Pure."""

PATH_MAX_BYTES = 95  # sun_path of unix(7) has 107 bytes and a NUL; the socket in the directory needs 12
NAME_MAX_BYTES = 255  # of one component, on the file systems of Linux


def size_bytes(path: str) -> int:
    """The size of a path for the kernel."""
    return len(path.encode("utf-8", "surrogateescape"))


def directory_fault(path: str) -> str:
    """Why no agent can use the directory; empty: usable.

    ``nul``: contains NUL. ``relative``: not absolute, so it depends on the working directory; "~" too.
    ``name_long``: a component is longer than 255 bytes. ``path_long``: no path for the status socket is left.
    """
    if "\0" in path:
        return "nul"
    if not path.startswith("/"):
        return "relative"
    if any(size_bytes(part) > NAME_MAX_BYTES for part in path.split("/")):
        return "name_long"
    return "path_long" if size_bytes(path) > PATH_MAX_BYTES else ""
