"""Secrets as files on this host: in memory or not at all, for this user alone, gone when the workspace stops."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from pydantic import SecretStr

from nexus.errors import InvalidArgument, ProviderForbidden, Unsupported, WorkspaceStopped
from nexus.models.execution import ExecResult
from nexus.models.instances import InstanceRef
from nexus.providers.local import LocalProvider
from nexus.providers.local.instance import LocalInstance
from nexus.providers.local.secret_files import filesystem_of

Run: TypeAlias = Callable[..., Awaitable[ExecResult]]
VALUE = "canary \0 bytes \udcff\n"


class InMemory:
    """The same tests' fixtures, with sockets and secrets in memory."""

    @pytest.fixture
    def options(self, tmp_path: Path) -> Iterator[dict[str, str]]:
        folder = tempfile.mkdtemp(prefix="nexus-test-", dir="/dev/shm")
        yield {"state_dir": str(tmp_path / "state"), "runtime_dir": f"{folder}/run"}
        shutil.rmtree(folder)


@pytest.mark.skipif(filesystem_of(Path("/dev/shm")) != "tmpfs", reason="this system has no /dev/shm in memory")
class TestInMemory(InMemory):
    async def test_they_are_for_one_user_and_gone_at_the_end(
        self, created: LocalInstance, run: Run, provider: LocalProvider
    ) -> None:
        path = Path(created.secret_path("A"))
        await created.write_secrets({"A": SecretStr("first"), "B": SecretStr("b")})
        await created.write_secrets({"A": SecretStr(VALUE)})
        assert path.read_bytes() == VALUE.encode("utf-8", "surrogateescape")
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o400, 0o700)
        assert sorted(file.name for file in path.parent.iterdir()) == ["A", "B"]
        assert (await run("cat", created.secret_path("B"))).stdout == "b"
        for name in ("../x", "a/b", "", ".", "a b", "ü"):
            with pytest.raises(InvalidArgument):
                await created.write_secrets({name: SecretStr(VALUE)})
        await created.stop()
        assert not path.parent.exists()
        with pytest.raises(WorkspaceStopped):
            await created.write_secrets({"A": SecretStr(VALUE)})
        await created.start()
        await created.write_secrets({"A": SecretStr(VALUE)})
        await provider.destroy(InstanceRef(id=created.ref.id))
        assert not path.parent.exists()

    async def test_a_folder_that_somebody_prepared_is_not_used(self, running: LocalInstance, tmp_path: Path) -> None:
        (tmp_path / "theirs").mkdir()
        path = Path(running.secret_path("A"))
        path.parent.symlink_to(tmp_path / "theirs")
        with pytest.raises(ProviderForbidden, match="symbolic link"):
            await running.write_secrets({"A": SecretStr(VALUE)})
        assert list((tmp_path / "theirs").iterdir()) == []
        path.parent.unlink()


async def test_nothing_is_written_to_a_disk(running: LocalInstance, tmp_path: Path) -> None:
    if filesystem_of(tmp_path) in {"tmpfs", "ramfs"}:
        pytest.skip("temporary folders are in memory here")
    with pytest.raises(Unsupported, match="is not in memory") as caught:
        await running.write_secrets({"A": SecretStr(VALUE)})
    assert "/dev/shm" in (caught.value.hint or "")
    assert list(Path(running.secret_path("A")).parent.iterdir()) == []


def test_what_the_system_does_not_tell(tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text("1 2 999:999 / /x rw - tmpfs tmpfs rw\n")
    assert filesystem_of(tmp_path, tmp_path / "mounts") == ""
    assert filesystem_of(tmp_path, tmp_path / "none") == ""
