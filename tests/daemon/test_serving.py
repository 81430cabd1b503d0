from __future__ import annotations

from pathlib import Path

import pytest

from nexus.wire.frames import Frame, Kind
from tests.daemon.talking import served, stranger, talking
from tests.workbench import Bench, make_bench


@pytest.fixture(params=["mock", "local"])
def bench(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    return make_bench(request.param, repository, tmp_path, request)


async def test_a_life_over_the_wire(bench: Bench) -> None:
    async with bench.open() as nx, served(nx) as daemon, talking(daemon) as client:
        made = await client.call("workspace.create", spec={"name": "one"})
        assert (made["name"], made["status"]) == ("one", "running")
        written = await client.call("fs.writeFile", workspace="one", path="a/b.txt", text="héllo\n")
        assert (written["path"], written["kind"], written["size"]) == ("a/b.txt", "file", 7)
        assert await client.call("fs.readFile", workspace="one", path="a/b.txt") == {"text": "héllo\n", "data": None}
        listed = await client.call("fs.readdir", workspace="one", path="a")
        assert [item["path"] for item in listed["items"]] == ["a/b.txt"]
        error = await client.refused("fs.readFile", workspace="one", path="none")
        assert (error["code"], error["data"]["code"]) == (2001, "FS_NOT_FOUND")

        ran = await client.call("exec.run", workspace="one", argv=["echo", "hi"])
        assert (ran["stdout"]["text"], ran["exit"]["exitCode"]) == ("hi\n", 0)

        started = await client.call("exec.start", workspace="one", argv=["cat"], stdin=True)
        await client.send(Frame(Kind.DATA, started["streams"]["stdin"], 0, b"through").encode())
        await client.send(Frame(Kind.END, started["streams"]["stdin"], 7).encode())
        assert await client.stream(started["streams"]["stdout"]) == b"through"
        over = await client.notice("exec.didExit")
        assert over["exec"] == started["exec"]
        assert over["exit"]["exitCode"] == 0
        assert over["streamEnds"] == {"stdout": 7, "stderr": 0}
        await client.call("workspace.destroy", workspace="one", force=True)


async def test_nothing_is_done_before_initialize(bench: Bench) -> None:
    async with bench.open() as nx, served(nx) as daemon, stranger(daemon) as client:
        error = await client.refused("workspace.list")
        assert error["code"] == -32002
        error = await client.refused("initialize", protocol={"min": 1, "max": 1}, auth={"token": "wrong"})
        assert error["data"]["code"] == "UNAUTHENTICATED"
