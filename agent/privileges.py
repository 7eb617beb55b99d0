"""A context manager for root's work in a folder of the service: runs the work as the service's user.

An attacker who controls the service can place links in the service's folder. Root would follow a link to any
file: a key written through a link, or a ``chown`` through a link, gives the attacker the machine. As the
folder's owner, a link gives access only to files that the service can open anyway.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def as_owner(directory: Path) -> Iterator[None]:
    """Run the block as owner and group of ``directory``; files made in the block belong to this owner.

    No effect for a user other than root, for a folder of root, and for a missing folder. For a command line
    program only: the user of the whole process changes, in every thread. Raises ``OSError``: no access to the
    folder.
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
