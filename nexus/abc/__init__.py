"""The seams. Protocols only: this package imports models and errors, and nothing that talks to the outside.

- :mod:`nexus.abc.provider` — what a backend implements (``Provider`` makes, ``Instance`` acts).
- :mod:`nexus.abc.services` — what runs beside an instance.
- :mod:`nexus.abc.checkpoints` — checkpoints of a workspace, and what a backend keeps for them.
- :mod:`nexus.abc.files` — what reads and changes the files of a workspace.
- :mod:`nexus.abc.git_access` — what a workspace's git knows and does.
- :mod:`nexus.abc.terminals` — what opens terminals that outlive whoever looks at them.
- :mod:`nexus.abc.clock` — what time it is, so that a test can say so.
- :mod:`nexus.abc.service` — what a program holds (``WorkspaceService``), in process or remote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.abc.checkpoints import CheckpointAccess, SupportsCheckpoints
    from nexus.abc.clock import Clock
    from nexus.abc.files import FileAccess, FileReader, FileWriter, Watch
    from nexus.abc.git_access import GitAccess
    from nexus.abc.provider import (
        Instance,
        KeptProcess,
        ProcessHandle,
        ProgressCallback,
        Provider,
        SupportsActivity,
        SupportsBuiltImages,
        SupportsConnect,
        SupportsDescription,
        SupportsHibernation,
        SupportsKeeping,
        SupportsListening,
        SupportsLogs,
        SupportsMakingAhead,
        SupportsMountChange,
        SupportsPause,
        SupportsPortChange,
        SupportsPrebuilds,
        SupportsResize,
        SupportsSecretFiles,
        SupportsStats,
    )
    from nexus.abc.services import SupportsServices, SupportsVolumes
    from nexus.abc.terminals import TerminalAccess, TerminalSession

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "nexus.abc.checkpoints": ["CheckpointAccess", "SupportsCheckpoints"],
        "nexus.abc.clock": ["Clock"],
        "nexus.abc.files": ["FileAccess", "FileReader", "FileWriter", "Watch"],
        "nexus.abc.git_access": ["GitAccess"],
        "nexus.abc.provider": [
            "Instance",
            "KeptProcess",
            "ProcessHandle",
            "ProgressCallback",
            "Provider",
            "SupportsActivity",
            "SupportsBuiltImages",
            "SupportsConnect",
            "SupportsDescription",
            "SupportsHibernation",
            "SupportsKeeping",
            "SupportsListening",
            "SupportsLogs",
            "SupportsMakingAhead",
            "SupportsMountChange",
            "SupportsPause",
            "SupportsPortChange",
            "SupportsPrebuilds",
            "SupportsResize",
            "SupportsSecretFiles",
            "SupportsStats",
        ],
        "nexus.abc.services": ["SupportsServices", "SupportsVolumes"],
        "nexus.abc.terminals": ["TerminalAccess", "TerminalSession"],
    },
)

__all__ = [
    "CheckpointAccess",
    "Clock",
    "FileAccess",
    "FileReader",
    "FileWriter",
    "GitAccess",
    "Instance",
    "KeptProcess",
    "ProcessHandle",
    "ProgressCallback",
    "Provider",
    "SupportsActivity",
    "SupportsBuiltImages",
    "SupportsCheckpoints",
    "SupportsConnect",
    "SupportsDescription",
    "SupportsHibernation",
    "SupportsKeeping",
    "SupportsListening",
    "SupportsLogs",
    "SupportsMakingAhead",
    "SupportsMountChange",
    "SupportsPause",
    "SupportsPortChange",
    "SupportsPrebuilds",
    "SupportsResize",
    "SupportsSecretFiles",
    "SupportsServices",
    "SupportsStats",
    "SupportsVolumes",
    "TerminalAccess",
    "TerminalSession",
    "Watch",
]
