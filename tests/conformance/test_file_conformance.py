"""Every way to the files of a workspace keeps every promise of ``nexus.abc.files``: one test per case and way."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nexus.abc.files import FileAccess
from nexus.models.ids import NodeId, new_workspace_id, parse_name
from nexus.models.instances import InstanceSpec
from nexus.models.mounts import VolumeMount
from nexus.providers.docker import DockerProvider
from nexus.providers.local import LocalProvider
from nexus.testing import FILE_CASES, FileCase, MakeFiles, check_files, run_file_case
from nexus.workspace import command_watch
from nexus.workspace.files import FileSystem
from nexus.workspace.files_by_command import FilesByCommand


def _host(tmp_path: Path, request: pytest.FixtureRequest) -> MakeFiles:
    @asynccontextmanager
    async def make() -> AsyncGenerator[FileAccess, None]:
        (tmp_path / "tree").mkdir()
        yield FileSystem(tmp_path / "tree")

    return make


def _spec(tree: Path, image: str | None = None) -> InstanceSpec:
    tree.mkdir()
    return InstanceSpec(
        id=new_workspace_id(),
        name=parse_name("files"),
        node=NodeId("conformance"),
        worktree=tree,
        workdir=str(tree),
        image=image,
        mounts=(VolumeMount(source=str(tree), target=str(tree)),) if image else (),
    )


def _local(tmp_path: Path, request: pytest.FixtureRequest) -> MakeFiles:
    options = {"state_dir": str(tmp_path / "state"), "runtime_dir": str(tmp_path / "run")}
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")}

    @asynccontextmanager
    async def make() -> AsyncGenerator[FileAccess, None]:
        async with LocalProvider(options, env=environment) as provider:
            instance = await provider.create(_spec(tmp_path / "tree"))
            await instance.start()
            try:
                yield FilesByCommand(instance.spawn, str(tmp_path / "tree"))
            finally:
                await provider.destroy(instance.ref)

    return make


_WAYS: Mapping[str, Callable[[Path, pytest.FixtureRequest], MakeFiles]] = {
    "host": _host,
    "commands-local": _local,
}


@pytest.mark.parametrize(
    ("way", "case"),
    [pytest.param(way, case, id=f"{way}-{case.name}") for way in _WAYS for case in FILE_CASES],
)
async def test_a_promise_is_kept(
    way: str, case: FileCase, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_watch, "_SHORTEST", 0.05)
    (await run_file_case(case, _WAYS[way](tmp_path, request))).raise_for_failure()


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_every_promise_is_kept_in_a_container_with_nothing_but_busybox(
    tmp_path: Path, engine: str, test_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_watch, "_SHORTEST", 0.05)
    async with DockerProvider({"socket": engine}) as provider:
        instance = await provider.create(await provider.prepare(_spec(tmp_path / "tree", test_image)))
        numbers = iter(range(len(FILE_CASES)))

        @asynccontextmanager
        async def make() -> AsyncGenerator[FileAccess, None]:
            root = tmp_path / "tree" / str(next(numbers))
            root.mkdir()
            yield FilesByCommand(instance.spawn, str(root))

        try:
            await instance.start()
            (await check_files(make, subject="commands in a container")).raise_for_failures()
        finally:
            await provider.destroy(instance.ref)


async def test_the_suite_tells_what_is_broken(tmp_path: Path) -> None:
    class Broken(FileSystem):
        async def read_bytes(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
            return await super().read_bytes(path, offset=offset, limit=limit) + b"more than there is"

    @asynccontextmanager
    async def make() -> AsyncGenerator[FileAccess, None]:
        (tmp_path / "tree").mkdir(exist_ok=True)
        yield Broken(tmp_path / "tree")

    report = await check_files(make, subject="broken", cases=FILE_CASES[:2])
    assert not report.ok
    with pytest.raises(AssertionError, match="broken fails 2 of 2"):
        report.raise_for_failures()
