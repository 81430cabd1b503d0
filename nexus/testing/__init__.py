"""Public means of testing what is built on Nexus, and of proving what is plugged into it. Needs no pytest.

- :func:`check_provider` — the conformance suite of providers; :data:`PROVIDER_CASES` and :func:`run_provider_case` for those who want
  each case as a test of their own.
- :func:`check_files` — the same for access to files: :data:`FILE_CASES`, :func:`run_file_case`.
- :func:`check_terminals` — the same for terminals, in process or over a socket; :data:`TERMINAL_CASES`, :func:`run_terminal_case`.
- :func:`check_service` — the conformance suite of workspace services: managers, remote clients, and yours.
- :func:`make_repository`, :func:`commit_files` — small git repositories, made without the ``git`` program.
- :func:`memory_pair` — the two ends of a connection in memory, for a daemon and its client in one program.
- :class:`ManualClock` — a clock that a test moves by hand.
- :mod:`nexus.providers.mock` is the backend to test against.
"""

from __future__ import annotations

from nexus.daemon.memory import MemoryTransport, memory_pair
from nexus.testing.clock import ManualClock
from nexus.testing.file_suite import FILE_CASES, FileCase, MakeFiles, check_files, run_file_case
from nexus.testing.git import commit_files, make_repository
from nexus.testing.provider_suite import (
    PROVIDER_CASES,
    MakeSubject,
    ProviderCase,
    ProviderSubject,
    check_provider,
    run_provider_case,
)
from nexus.testing.report import CaseResult, Outcome, Report
from nexus.testing.service_suite import (
    SERVICE_CASES,
    MakeService,
    ServiceCase,
    ServiceSubject,
    check_service,
    run_service_case,
)
from nexus.testing.terminal_suite import (
    TERMINAL_CASES,
    MakeTerminals,
    TerminalCase,
    TerminalSubject,
    check_terminals,
    run_terminal_case,
)

__all__ = [
    "FILE_CASES",
    "PROVIDER_CASES",
    "SERVICE_CASES",
    "TERMINAL_CASES",
    "CaseResult",
    "FileCase",
    "MakeFiles",
    "MakeService",
    "MakeSubject",
    "MakeTerminals",
    "ManualClock",
    "MemoryTransport",
    "Outcome",
    "ProviderCase",
    "ProviderSubject",
    "Report",
    "ServiceCase",
    "ServiceSubject",
    "TerminalCase",
    "TerminalSubject",
    "check_files",
    "check_provider",
    "check_service",
    "check_terminals",
    "commit_files",
    "make_repository",
    "memory_pair",
    "run_file_case",
    "run_provider_case",
    "run_service_case",
    "run_terminal_case",
]
