"""What a file system promises: whether a lock excludes other machines."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")

_SHARED = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "afs", "ceph", "lustre", "gpfs",
        "beegfs", "glusterfs", "gfs2", "ocfs2", "pvfs2", "orangefs", "vboxsf", "prl_fs",
    }
)  # fmt: skip


def is_shared(folder: Path) -> bool:
    """Whether other machines may write to the file system of a folder.

    Then a lock may hold on this machine alone: NFS can be mounted with local locks, and some file
    systems accept every lock. Every FUSE file system counts, as it may be one of a network. Elsewhere
    than on Linux, and if it cannot be found out, the answer is no.
    """
    if sys.platform != "linux":
        return False
    try:
        device = folder.stat().st_dev
        mounts = _MOUNTS.read_text(errors="replace")
    except OSError:
        return False
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        mount, _, source = line.partition(" - ")
        fields = mount.split()
        if len(fields) > 2 and fields[2] == wanted:
            kind = source.split(" ")[0]
            return kind in _SHARED or kind.startswith("fuse")
    return False
