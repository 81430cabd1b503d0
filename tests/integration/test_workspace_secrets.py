"""What programs in a workspace are given, in which order, and what happens where a secret is missing or not allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

import nexus
from nexus.errors import (
    ConfigError,
    HookFailed,
    InvalidArgument,
    ProviderError,
    SecretError,
    SecretNotFound,
    SecretRefused,
    Unsupported,
    WorkspaceStopped,
)
from nexus.models.events import WorkspaceEvent
from nexus.models.workspace import WorkspaceStatus
from nexus.providers.local.secret_files import filesystem_of
from tests.engine.driving import command
from tests.workbench import Bench, configure, make_bench


@pytest.fixture
def mock(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    return make_bench("mock", repository, tmp_path, request)


def user(home: Path, text: str) -> None:
    (home / ".nexus").mkdir(exist_ok=True)
    (home / ".nexus" / "config.yaml").write_text(text)


async def seen(ws: nexus.Workspace, *names: str) -> list[str]:
    return (await ws.shell("".join(f'echo "${name}"\n' for name in names), check=True)).stdout.splitlines()


async def test_files_then_environment_then_secrets(bench: Bench, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "mine")
    user(home, "secrets:\n  env_files: [a.env, missing.env]\n  named:\n    E: {source: env, var: MINE}\n")
    (home / ".nexus" / "a.env").write_text("A=user\nB=user\nC=user\nD=user\nE=user\n")
    (bench.repository / ".env").write_text("B=project\nC=project\nD=project\nE=project\n")
    (bench.repository / "d.txt").write_text("file\n")
    configure(
        bench.repository, "env: {C: plain, E: plain}\nenv_files: [.env]\nsecrets:\n  D: {source: file, path: d.txt}\n"
    )
    async with bench.open() as nx:
        ws = await nx.create("a")
        assert await seen(ws, "A", "B", "C", "D", "E") == ["user", "project", "plain", "file", "mine"]
        own = await ws.exec("sh", "-c", "echo $A $E", env={"A": "own", "E": "own"})
        assert own.stdout == "own own\n"
        # The next command sees what is there by then: nothing was written down.
        (bench.repository / "d.txt").write_text("changed")
        assert await seen(ws, "D") == ["changed"]


async def test_a_clones_reference_is_refused_with_the_line_that_allows_it(
    mock: Bench, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET", "canary")
    configure(mock.repository, "secrets:\n  A: {source: env, var: AWS_SECRET}\n")
    async with mock.open() as nx:
        ws = await nx.create("a")
        with pytest.raises(
            SecretRefused, match=r"config.yaml:2:6: the project's file wants 'AWS_SECRET' of yours"
        ) as caught:
            await ws.exec("true")
        assert "'project_overrides.<project>.secrets.allow'" in (caught.value.hint or "")
        assert caught.value.details["permission"] == "AWS_SECRET"
        # A script that could not even begin for that names the same way out.
        with pytest.raises(HookFailed, match="which you have not allowed") as failed:
            await nx.create("b", settings={"scripts.pre-start": "true"})
        assert (failed.value.hint or "").startswith(f"{caught.value.hint}; then start it again")
        await nx.destroy("b")
    user(
        home,
        f"workspaces: {{x: {{path: {mock.repository}}}}}\nproject_overrides: {{x: {{secrets: {{allow: [AWS_SECRET]}}}}}}\n",
    )
    async with mock.open() as nx:
        assert await seen(await nx.attach("a"), "A") == ["canary"]


async def test_a_missing_secret_is_an_error_when_needed_unless_it_need_not_be_there(
    mock: Bench, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user(home, "secrets:\n  named:\n    A: {source: env, var: UNSET_HERE}\n")
    async with mock.open() as nx:
        ws = await nx.create("a")
        with pytest.raises(SecretNotFound, match="secret A has no value: the variable UNSET_HERE is not set"):
            await ws.exec("true")
        await ws.stop()  # what needs no secret goes on
    user(home, "secrets:\n  named:\n    A: {source: env, var: UNSET_HERE, required: false}\n")
    configure(mock.repository, "secrets:\n  B: {source: env, var: HOME, required: false}\n")
    async with mock.open() as nx:
        ws = await nx.attach("a")
        await ws.start()
        assert await seen(ws, "A", "B") == ["", ""]
    user(home, "secrets:\n  named:\n    A: {source: env, var: UNSET_HERE, required: true}\n")
    with pytest.raises(ConfigError, match="secret 'A' is required and refers to the variable UNSET_HERE"):
        async with mock.open():
            pass


async def test_secrets_as_files_need_a_place_in_memory(mock: Bench, home: Path) -> None:
    user(home, "secrets:\n  named:\n    A: {source: file, path: a, as: file}\n")
    async with mock.open() as nx:
        with pytest.raises(SecretNotFound, match=r"the file .*/a does not exist"):
            await nx.create("a")
        (home / ".nexus" / "a").write_text("canary")
        with pytest.raises(Unsupported, match="no place in memory for files, so secret A cannot be one"):
            await nx.create("a")
        assert await nx.list() == ()  # a failed creation leaves nothing


async def test_a_start_without_its_secrets_is_taken_back(
    home: Path, repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The value is there, but the folder for it is on a disk: nothing is written, and nothing goes on running without it."""
    if filesystem_of(tmp_path) in {"tmpfs", "ramfs"}:
        pytest.skip("temporary folders are in memory here")
    bench = make_bench("local", repository, tmp_path, request)
    async with bench.open() as nx:
        await (await nx.create("a")).stop()
    user(home, "secrets:\n  named:\n    A: {source: file, path: a, as: file}\n")
    (home / ".nexus" / "a").write_text("canary-in-memory")
    async with bench.open() as nx:
        ws = await nx.attach("a")
        with pytest.raises(Unsupported, match="is not in memory"):
            await ws.start()
        assert await ws.status() is WorkspaceStatus.ERROR
        with pytest.raises(WorkspaceStopped):
            await (await nx._open.backends.instance(await nx._open.records.load("a"))).spawn(command("true"))
        with pytest.raises(Unsupported, match="is not in memory"):
            await nx.create("b")
        assert [entry.name for entry in await nx.list()] == ["a"]
        await ws.destroy()
    for path in (*home.rglob("*"), *(tmp_path / "run").rglob("*")):
        assert path == home / ".nexus" / "a" or not path.is_file() or b"canary-in-memory" not in path.read_bytes()


async def test_why_a_start_failed_is_kept_without_what_was_given(
    mock: Bench, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mock.script is not None
    monkeypatch.setenv("MINE", "canary-81")
    user(home, "secrets: {named: {A: {source: env, var: MINE}}}\n")
    events: list[WorkspaceEvent] = []
    async with mock.open() as nx:
        nx.observe(events.append)
        ws = await nx.create("a")
        await ws.exec("true", check=True)
        await ws.stop()
        mock.script.fail("start", error=ProviderError("the engine refused A=canary-81 for a reason"))
        with pytest.raises(ProviderError):
            await ws.start()
        assert (await nx.get("a")).status_message == "the engine refused A=*** for a reason"
    assert "canary" not in "".join(event.model_dump_json() for event in events)
    record = mock.repository / ".nexus" / "state" / "workspaces" / "a.json"
    assert "canary" not in record.read_text()


async def test_secrets_of_one_workspace_alone_are_refused(mock: Bench) -> None:
    async with mock.open() as nx:
        with pytest.raises(InvalidArgument, match="cannot be given to one workspace alone"):
            await nx.create("a", settings={"secrets.named.X": {"source": "store"}})
        assert await nx.list() == ()


async def test_files_of_variables_cannot_take_over(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bench = make_bench("local", repository, tmp_path, request)
    configure(repository, "env_files: [.env]\n")
    async with bench.open() as nx, nx.create("a") as ws:
        for line, words in (
            ("NEXUS_WORKSPACE=other", "names that begin with NEXUS_ are taken"),
            ("LD_PRELOAD=./evil.so", "cannot set LD_PRELOAD while the backend is 'local'"),
            ("A='hunter2", r"\.env:1:3: the ' that opens here is never closed"),
        ):
            (repository / ".env").write_text(line + "\n")
            with pytest.raises(SecretError, match=words) as caught:
                await ws.exec("true")
            assert "hunter2" not in str(caught.value.to_json())
        (repository / ".env").unlink()
        (repository / ".env").symlink_to("/etc/hostname")
        with pytest.raises(SecretError, match="leads out of the project"):
            await ws.exec("true")
        (repository / ".env").unlink()
        assert await ws.status() is WorkspaceStatus.RUNNING
        await ws.exec("true", check=True)
