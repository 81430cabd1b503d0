"""State on disk: workspace records, the journal of unfinished operations, locks, and the node's registry of names and ports.

- :class:`FileStateStore` keeps the records of one repository, each file replaced whole or not at all.
- :class:`DestroyedStore` remembers what was destroyed, so that it can be listed and restored.
- :class:`CheckpointStore` knows the checkpoints of workspaces that are there.
- :class:`HoldStore` keeps what somebody holds a workspace awake for.
- :class:`TerminalStore` keeps what terminals showed, so that they can be opened again.
- :class:`Journal` holds what is about to be done, so that the next process can finish or undo what a crash cut short.
- :class:`ApprovalStore` remembers what its user has approved, :class:`HookLogs` what scripts printed.
- :func:`lock` excludes other tasks and processes, and tells those who wait whom they wait for.
- :class:`NodeRegistry` hands out names and ports between all processes of the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.state.approvals import ApprovalStore
    from nexus.state.checkpoints import CheckpointStore
    from nexus.state.destroyed import DestroyedStore
    from nexus.state.holds import HoldStore
    from nexus.state.hook_logs import HookLog, HookLogs
    from nexus.state.journal import Journal, OpenJournal
    from nexus.state.journal_entry import JournalEntry
    from nexus.state.locks import LockHolder, lock
    from nexus.state.migrations import MIGRATIONS, Document, Step, UnknownSchema, migrate
    from nexus.state.registry import NodeRegistry
    from nexus.state.rows import Claim, Decision, Known, LeaseRow, PortKey, RestoreReport
    from nexus.state.start_lock import starting, still
    from nexus.state.store import FileStateStore
    from nexus.state.terminals import SavedTerminal, TerminalStore

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "nexus.state.approvals": ["ApprovalStore"],
        "nexus.state.checkpoints": ["CheckpointStore"],
        "nexus.state.destroyed": ["DestroyedStore"],
        "nexus.state.holds": ["HoldStore"],
        "nexus.state.hook_logs": ["HookLog", "HookLogs"],
        "nexus.state.journal": ["Journal", "OpenJournal"],
        "nexus.state.journal_entry": ["JournalEntry"],
        "nexus.state.locks": ["LockHolder", "lock"],
        "nexus.state.migrations": ["MIGRATIONS", "Document", "Step", "UnknownSchema", "migrate"],
        "nexus.state.registry": ["NodeRegistry"],
        "nexus.state.rows": ["Claim", "Decision", "Known", "LeaseRow", "PortKey", "RestoreReport"],
        "nexus.state.start_lock": ["starting", "still"],
        "nexus.state.store": ["FileStateStore"],
        "nexus.state.terminals": ["SavedTerminal", "TerminalStore"],
    },
)

__all__ = [
    "MIGRATIONS",
    "ApprovalStore",
    "CheckpointStore",
    "Claim",
    "Decision",
    "DestroyedStore",
    "Document",
    "FileStateStore",
    "HoldStore",
    "HookLog",
    "HookLogs",
    "Journal",
    "JournalEntry",
    "Known",
    "LeaseRow",
    "LockHolder",
    "NodeRegistry",
    "OpenJournal",
    "PortKey",
    "RestoreReport",
    "SavedTerminal",
    "Step",
    "TerminalStore",
    "UnknownSchema",
    "lock",
    "migrate",
    "starting",
    "still",
]
