"""A manager in process and the client of a daemon keep the same promises: one test per case, service and backend."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import nexus
from nexus.testing import SERVICE_CASES, MakeService, ServiceCase, ServiceSubject, run_service_case
from tests.workbench import Bench, git, make_bench

ON_DOCKER = frozenset(
    {
        "a-command-is-talked-to",
        "a-time-limit-ends-the-command",
        "a-workspace-is-created-found-and-destroyed",
        "bytes-of-any-kind-and-size",
        "much-output-is-complete",
        "output-comes-in-the-order-of-its-arrival",
        "switching-pauses-one-and-wakes-the-other",
    }
)
"""What may differ where the way to a command is longest."""


def _manager(bench: Bench) -> MakeService:
    @asynccontextmanager
    async def make() -> AsyncGenerator[ServiceSubject, None]:
        async with bench.open() as nx:
            yield ServiceSubject(name=f"manager on {bench.backend}", service=nx)

    return make


def _remote(bench: Bench, *, over_socket: bool) -> MakeService:
    @asynccontextmanager
    async def make() -> AsyncGenerator[ServiceSubject, None]:
        async with (
            bench.open() as nx,
            nexus.Daemon(nx, host="127.0.0.1" if over_socket else None) as daemon,
            nexus.connect(daemon.url if over_socket else daemon.dial, token=daemon.issue_token()) as client,
        ):
            yield ServiceSubject(name=f"client on {bench.backend}", service=client)

    return make


def _in_memory(bench: Bench) -> MakeService:
    return _remote(bench, over_socket=False)


def _over_a_socket(bench: Bench) -> MakeService:
    return _remote(bench, over_socket=True)


_SERVICES = {"manager": _manager, "memory": _in_memory, "socket": _over_a_socket}
_ALL = [
    *(("manager", backend, case) for backend in ("mock", "local") for case in SERVICE_CASES),
    *(("memory", "mock", case) for case in SERVICE_CASES),
    *(("socket", "local", case) for case in SERVICE_CASES),
    *(("socket", "docker", case) for case in SERVICE_CASES if case.name in ON_DOCKER),
]


@pytest.mark.parametrize(
    ("service", "backend", "case"),
    [
        pytest.param(
            service,
            backend,
            case,
            id=f"{service}-{backend}-{case.name}",
            marks=(pytest.mark.docker,) if backend == "docker" else (),
        )
        for service, backend, case in _ALL
    ],
)
async def test_a_promise_is_kept(
    service: str, backend: str, case: ServiceCase, repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    git(repository, "config", "user.name", "T")
    git(repository, "config", "user.email", "t@example.com")
    bench = make_bench(backend, repository, tmp_path, request)
    try:
        result = await run_service_case(case, _SERVICES[service](bench))
    finally:
        async with bench.open() as nx:
            for entry in await nx.list():
                await nx.destroy(entry.name, force=True)

    result.raise_for_failure()


def test_cases_have_names_and_promises_of_their_own() -> None:
    names = [case.name for case in SERVICE_CASES]

    assert len(set(names)) == len(names)
    assert set(names) >= ON_DOCKER
    assert all(case.promise.endswith(".") for case in SERVICE_CASES)
