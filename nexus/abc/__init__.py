"""The seams. Protocols only: this package imports models and errors, and nothing that talks to the outside.

- :mod:`nexus.abc.provider` — what a backend implements (``Provider`` makes, ``Instance`` acts).
- :mod:`nexus.abc.services` — what runs beside an instance.
- :mod:`nexus.abc.files` — what reads and changes the files of a workspace.
- :mod:`nexus.abc.clock` — what time it is, so that a test can say so.
- :mod:`nexus.abc.service` — what a program holds (``WorkspaceService``), in process or remote.
"""

from __future__ import annotations

from nexus.abc.clock import Clock
from nexus.abc.files import FileAccess
from nexus.abc.provider import (
    Instance,
    ProcessHandle,
    ProgressCallback,
    Provider,
    SupportsActivity,
    SupportsDescription,
    SupportsListening,
    SupportsLogs,
    SupportsMountChange,
    SupportsPause,
    SupportsPortChange,
    SupportsPrebuilds,
    SupportsResize,
    SupportsSecretFiles,
    SupportsStats,
)
from nexus.abc.services import SupportsServices, SupportsVolumes

__all__ = [
    "Clock",
    "FileAccess",
    "Instance",
    "ProcessHandle",
    "ProgressCallback",
    "Provider",
    "SupportsActivity",
    "SupportsDescription",
    "SupportsListening",
    "SupportsLogs",
    "SupportsMountChange",
    "SupportsPause",
    "SupportsPortChange",
    "SupportsPrebuilds",
    "SupportsResize",
    "SupportsSecretFiles",
    "SupportsServices",
    "SupportsStats",
    "SupportsVolumes",
]
