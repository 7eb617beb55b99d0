"""Root's errands in a folder that is the service's are run as the service.

Whoever has taken over the service can put links into its folder. To root they would lead anywhere: a key
written through one, a ``chown`` through another, and the machine is his. As the folder's owner they lead
nowhere he could not go by himself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def as_owner(directory: Path) -> Iterator[None]:
    """What root does in the block is done as the owner and group of ``directory``, and belongs to them.

    Nothing changes for another user, or where the folder is root's or not there yet. For a command line: the
    whole process changes its user, every thread of it.

    Raises:
        OSError: the folder cannot be looked at.
    """
    if os.geteuid() != 0 or not directory.exists() or directory.stat().st_uid == 0:
        yield
        return
    owner, groups, group = directory.stat(), os.getgroups(), os.getegid()
    os.setgroups([owner.st_gid])
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
