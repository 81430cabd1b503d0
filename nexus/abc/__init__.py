"""The seams. Protocols only: this package imports models and errors, and nothing that talks to the outside.

- :mod:`nexus.abc.provider` — what a backend implements (``Provider`` makes, ``Instance`` acts).
- :mod:`nexus.abc.services` — what runs beside an instance.
- :mod:`nexus.abc.files` — what reads and changes the files of a workspace.
- :mod:`nexus.abc.service` — what a program holds (``WorkspaceService``), in process or remote.
"""

from __future__ import annotations

from nexus.abc.files import FileAccess
from nexus.abc.provider import (
    Instance,
    ProcessHandle,
    ProgressCallback,
    Provider,
    SupportsLogs,
    SupportsPause,
    SupportsPortChange,
    SupportsStats,
)
from nexus.abc.services import SupportsServices, SupportsVolumes

__all__ = [
    "FileAccess",
    "Instance",
    "ProcessHandle",
    "ProgressCallback",
    "Provider",
    "SupportsLogs",
    "SupportsPause",
    "SupportsPortChange",
    "SupportsServices",
    "SupportsStats",
    "SupportsVolumes",
]
