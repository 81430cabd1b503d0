"""What a daemon says that it can do is so."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

import nexus
from nexus.daemon.daemon import Daemon
from nexus.models.instances import Capability
from nexus.workspace import featuring
from tests.daemon.talking import served, stranger
from tests.workbench import make_bench


async def told(daemon: Daemon) -> Any:
    async with stranger(daemon) as client:
        return (await client.greet(daemon.issue_token()))["capabilities"]


@pytest.mark.parametrize("backend", ["mock", "local"])
async def test_backends_as_far_as_they_are_known(
    backend: str, repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async with make_bench(backend, repository, tmp_path, request).open() as nx, served(nx) as daemon:
        before = await told(daemon)
        await nx.create("one")
        after = await told(daemon)
        (info,) = [each for each in await nx.probe() if each.name == backend]
        await nx.destroy("one", force=True)

    assert backend in before["workspace"]["backends"]
    assert after["workspace"]["backends"][backend] == sorted(map(str, info.capabilities))
    assert (backend in after["terminal"]["keptBy"]) == (Capability.KEEPING in info.capabilities)
    assert after["telemetry"] is False


async def test_searching_and_watching(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError(errno.EMFILE, "too many")

    async with make_bench("mock", repository, tmp_path, request).open() as nx, served(nx) as daemon:
        assert (await told(daemon))["fs"] == {"stream": True, "watch": "native", "search": True}
        monkeypatch.setattr(featuring, "Inotify", refuse)
        monkeypatch.setattr(featuring, "_search", lambda: False)
        assert (await told(daemon))["fs"] == {"stream": True, "watch": "poll", "search": False}


async def test_a_service_that_does_not_say_is_not_spoken_for(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async with (
        make_bench("mock", repository, tmp_path, request).open() as nx,
        served(nx) as daemon,
        nexus.connect(daemon.dial, token=daemon.issue_token()) as client,
        Daemon(client, host=None) as second,
    ):
        found = await told(second)
    assert found["fs"] == {"stream": True}
    assert found["workspace"] == {}
