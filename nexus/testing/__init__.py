"""Public means of testing what is built on Nexus, and of proving what is plugged into it. Needs no pytest.

- :func:`check_provider` — the conformance suite of providers; :data:`PROVIDER_CASES` and :func:`run_provider_case` for those who want
  each case as a test of their own.
- :func:`check_files` — the same for access to files: :data:`FILE_CASES`, :func:`run_file_case`.
- :func:`make_repository`, :func:`commit_files` — small git repositories, made without the ``git`` program.
- :class:`ManualClock` — a clock that a test moves by hand.
- :mod:`nexus.providers.mock` is the backend to test against.
"""

from __future__ import annotations

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

__all__ = [
    "FILE_CASES",
    "PROVIDER_CASES",
    "CaseResult",
    "FileCase",
    "MakeFiles",
    "MakeSubject",
    "ManualClock",
    "Outcome",
    "ProviderCase",
    "ProviderSubject",
    "Report",
    "check_files",
    "check_provider",
    "commit_files",
    "make_repository",
    "run_file_case",
    "run_provider_case",
]
