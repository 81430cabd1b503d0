"""Terminals keep every promise of ``nexus.abc.terminals`` on every backend, in process and behind a daemon."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path

import pytest

import nexus
from nexus.testing import TERMINAL_CASES, Outcome, TerminalSubject, run_terminal_case
from tests.workbench import make_bench

BACKENDS = [
    "mock",
    "local",
    pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.slow]),
]


@asynccontextmanager
async def remote(nx: nexus.WorkspaceManager) -> AsyncGenerator[nexus.WorkspaceService, None]:
    async with nexus.Daemon(nx) as daemon, nexus.connect(daemon.url, token=daemon.issue_token()) as client:
        yield client


@pytest.mark.parametrize("way", [nullcontext, remote], ids=["in-process", "over-a-socket"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.timeout(240)
async def test_terminals_keep_their_promises(
    backend: str,
    way: Callable[[nexus.WorkspaceManager], AbstractAsyncContextManager[nexus.WorkspaceService]],
    repository: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    bench = make_bench(backend, repository, tmp_path, request)
    # One workspace for all cases: what one leaves behind would disturb the next.
    async with bench.open() as nx, nx.create("seat") as ws, way(nx) as service:
        (ws.info.worktree_path / "inner").mkdir()

        @asynccontextmanager
        async def make() -> AsyncGenerator[TerminalSubject, None]:
            yield TerminalSubject(
                terminals=service.terminals(ws.info),
                pause=ws.pause,
                resume=ws.resume,
                stop=ws.stop,
                start=ws.start,
                bulk=512 * 1024 if way is nullcontext else 2 * 1024 * 1024,  # more than is kept on the way
            )

        for case in TERMINAL_CASES:
            result = await run_terminal_case(case, make)
            result.raise_for_failure()
            assert result.outcome is Outcome.PASSED, f"{case.name}: {result.reason}"
            assert await nx.terminals(ws.info).list() == (), f"{case.name} left a terminal behind"
        for junk in ("inner", "times"):
            path = ws.info.worktree_path / junk
            path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
