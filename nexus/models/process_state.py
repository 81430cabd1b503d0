"""One process of this machine, and no other one."""

from __future__ import annotations

from nexus.models.base import Model


class ProcessState(Model):
    """What has to be known to find a local workspace's processes again: never the process id alone."""

    pid: int
    start_time: int
    """Start of the process in clock ticks since boot (field 22 of ``/proc/<pid>/stat``)."""
    boot_id: str
    """The kernel's ``/proc/sys/kernel/random/boot_id``; start times of another boot mean nothing."""
