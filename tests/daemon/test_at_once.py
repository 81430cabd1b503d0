"""Requests that are answered without waiting for anything, over a WebSocket, as the other ways answer them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

import nexus
from nexus.daemon.handlers import files
from nexus.models.base import Model
from nexus.testing.git import make_repository
from nexus.wire.limits import Limits

SIZE = 200 * 1024


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    make_repository(tmp_path / "app", {"small": "x" * 4096, "large": "y" * SIZE, "not-text": "z"})
    return tmp_path / "app"


@asynccontextmanager
async def line(repository: Path, **options: Any) -> AsyncGenerator[tuple[ClientConnection, nexus.Workspace], None]:
    async with (
        nexus.open(repository, flags={"backend": "local"}) as nx,
        nexus.Daemon(nx, **options) as daemon,
        nx.create("one", start=False) as workspace,
        connect(daemon.url, subprotocols=[Subprotocol("nexus.v1")], compression=None, max_size=None) as talk,
    ):
        with anyio.fail_after(60):
            hello = {"protocol": {"min": 1, "max": 1}, "auth": {"token": daemon.issue_token(workspaces=["one"])}}
            await talk.send(json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}))
            await talk.recv()
            await talk.send(reading(0, "small"))  # from then on it is known which workspace that is
            await talk.recv()
            yield talk, workspace


def reading(id: int, path: str, **more: object) -> str:  # noqa: A002 - JSON-RPC's word
    params = {"workspace": "one", "path": path, **more}
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": "fs.readFile", "params": params})


async def answers(talk: ClientConnection, count: int) -> dict[int, dict[str, Any]]:
    found = [json.loads(await talk.recv()) for _ in range(count)]
    return {answer["id"]: answer for answer in found}


async def test_more_than_is_taken_in_a_row_is_all_answered_each_once(repository: Path) -> None:
    async with line(repository) as (talk, _):
        for id in range(1, 301):  # noqa: A001
            await talk.send(reading(id, "small" if id % 7 else "nothing"))
        found = await answers(talk, 300)
        assert sorted(found) == list(range(1, 301))
        for id, answer in found.items():  # noqa: A001
            if id % 7:
                assert answer["result"] == {"text": "x" * 4096, "data": None}
            else:
                assert answer["error"]["data"]["code"] == "FS_NOT_FOUND"


async def test_many_large_answers_are_no_slow_reader(repository: Path) -> None:
    """A client that asks for more than may wait for it is read more slowly, not closed."""
    async with line(repository, limits=Limits(pending=2 * 1024 * 1024)) as (talk, _):
        for id in range(1, 101):  # noqa: A001
            await talk.send(reading(id, "large"))
        found = await answers(talk, 100)
        assert all(len(answer["result"]["text"]) == SIZE for answer in found.values())


async def test_what_changes_is_read_as_it_is_then(repository: Path) -> None:
    async with line(repository) as (talk, workspace):
        tree = workspace.info.worktree_path
        for id in range(1, 50):  # noqa: A001
            (tree / "small").write_text(str(id))
            await talk.send(reading(id, "small"))
            assert (await answers(talk, 1))[id]["result"]["text"] == str(id)
        (tree / "not-text").write_bytes(b"\xff")
        await talk.send(reading(50, "not-text"))
        await talk.send(reading(51, "not-text", encoding="text"))
        found = await answers(talk, 2)
        assert found[50]["result"]["data"] == "/w=="
        assert found[51]["error"]["data"]["code"] == "FS_ERROR"
        (tree / "small").write_text("x" * 4096)
        (tree / "not-text").write_text("z")


async def test_an_unexpected_error_is_answered_and_the_connection_goes_on(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    async with line(repository) as (talk, _):

        def broken(*_: object) -> Model:
            raise RuntimeError("not meant to happen")

        with monkeypatch.context() as patch:
            patch.setattr(files, "_content", broken)
            await talk.send(reading(2, "small"))
            assert (await answers(talk, 1))[2]["error"]["data"]["code"] == "INTERNAL"
        await talk.send(reading(3, "small"))
        assert "result" in (await answers(talk, 1))[3]


async def test_other_workspaces_are_refused_as_ever(repository: Path) -> None:
    async with line(repository) as (talk, workspace):
        params = {"workspace": workspace.info.id, "path": "small"}
        await talk.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "fs.readFile", "params": params}))
        assert "result" in (await answers(talk, 1))[1]
        await talk.send(
            json.dumps({"jsonrpc": "2.0", "id": 2, "method": "fs.readFile", "params": {**params, "workspace": "two"}})
        )
        assert (await answers(talk, 1))[2]["error"]["data"]["code"] == "SCOPE_DENIED"
