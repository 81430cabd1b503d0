"""Prebuilt images: what scripts come to, kept on the engine and used by new workspaces."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.errors import HookFailed
from nexus.models.instances import LABEL_REPOSITORY
from nexus.models.prebuilds import LABEL_PREBUILD, PrebuildOutcome
from nexus.workspace import prebuilding
from tests.engine.raw import RawEngine
from tests.workbench import Bench, git, leftovers, make_bench

SCRIPT = """\
set -e
echo ran >>/tmp/pre-start-ran
mkdir -p node_modules/deep
cp package-lock.json node_modules/deep/installed
ln -sf deep/installed node_modules/link
echo "token: $TOKEN" >node_modules/env
echo outside >/tmp/outside
"""


@pytest.fixture
async def bench(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncGenerator[Bench, None]:
    (repository / "package-lock.json").write_text('{"one": 1}\n')
    (repository / ".gitignore").write_text("node_modules/\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "lock")
    made = make_bench("docker", repository, tmp_path, request)
    write(repository, SCRIPT)
    yield made
    raw = RawEngine(request.getfixturevalue("engine"))
    for image in images(raw, repository):
        raw.call("DELETE", f"/images/{image['Id']}?force=1")


def images(raw: RawEngine, repository: Path) -> list[dict[str, object]]:
    return [
        image
        for image in raw.get("/images/json")
        if (image.get("Labels") or {}).get(LABEL_REPOSITORY) == str(repository)
        and LABEL_PREBUILD in (image.get("Labels") or {})
    ]


def write(repository: Path, script: str, more: str = "") -> None:
    (repository / ".nexus").mkdir(exist_ok=True)
    text = f"scripts:\n  pre-start: {json.dumps(script)}\n{more}"
    (repository / ".nexus" / "config.yaml").write_text(text)


def made(outcome: PrebuildOutcome) -> str:
    assert outcome.prebuild is not None, outcome
    return outcome.prebuild.key


@pytest.mark.docker
async def test_a_new_workspace_begins_where_the_scripts_ended(
    bench: Bench, repository: Path, request: pytest.FixtureRequest
) -> None:
    raw = RawEngine(request.getfixturevalue("engine"))
    async with bench.open() as nx:
        outcome = await nx.prebuild()
        assert (outcome.action, outcome.inputs) == ("made", ("package-lock.json",))
        assert outcome.prebuild is not None
        assert outcome.prebuild.portable, outcome.reason
        assert (await nx.prebuild()).action == "there"
        assert len(images(raw, repository)) == 1
        assert await nx.list() == ()
        assert await nx.rescues() == ()
        ws = await nx.create("a")
        assert ws.info.annotations["dev.nexus.prebuild"] == outcome.prebuild.key
        said = await ws.shell("cat node_modules/link /tmp/outside; wc -l </tmp/pre-start-ran", check=True)
        assert said.stdout.split() == ['{"one":', "1}", "outside", "1"]  # it did not run again
        assert git(ws.info.worktree_path, "status", "--porcelain") == ""
        await ws.stop()
        await ws.start()  # from the second start on it runs as ever
        assert (await ws.shell("wc -l </tmp/pre-start-ran", check=True)).stdout.strip() == "2"
        assert ws.info.image != outcome.prebuild.image
        await ws.destroy()
    assert await leftovers(bench) == []


@pytest.mark.docker
async def test_what_it_depends_on_decides_whether_it_fits(bench: Bench, repository: Path) -> None:
    async with bench.open() as nx:
        first = made(await nx.prebuild())
        (repository / "code.py").write_text("print()\n")
        git(repository, "add", ".")
        git(repository, "commit", "-qm", "code")
        # Another tree with the same lock file: it fits, but nobody said that nothing else counts, so the script runs on what is there.
        ws = await nx.create("a")
        assert ws.info.annotations["dev.nexus.prebuild"] == first
        assert (await ws.shell("wc -l </tmp/pre-start-ran", check=True)).stdout.strip() == "2"
        await ws.destroy()
        (repository / "package-lock.json").write_text('{"two": 2}\n')
        git(repository, "commit", "-qam", "newer")
        ws = await nx.create("b")
        assert "dev.nexus.prebuild" not in ws.info.annotations
        assert (await ws.shell("wc -l </tmp/pre-start-ran", check=True)).stdout.strip() == "1"
        await ws.destroy()
        assert made(await nx.prebuild()) != first
    write(repository, SCRIPT, "prebuild: {inputs: [package-lock.json]}\n")
    async with bench.open() as nx:
        await nx.prebuild(force=True)
        (repository / "code.py").write_text("print(2)\n")
        git(repository, "commit", "-qam", "more code")
        ws = await nx.create("c")
        assert (await ws.shell("wc -l </tmp/pre-start-ran", check=True)).stdout.strip() == "1"
        await ws.destroy()
        off = await nx.create("d", settings={"prebuild.enabled": False})
        assert "dev.nexus.prebuild" not in off.info.annotations
        await off.destroy()


@pytest.mark.docker
async def test_those_that_fit_no_more_are_refreshed_and_pruned(
    bench: Bench, repository: Path, request: pytest.FixtureRequest
) -> None:
    raw = RawEngine(request.getfixturevalue("engine"))
    write(repository, SCRIPT, "prebuild: {keep_for: 1s}\n")
    async with bench.open() as nx:
        first = made(await nx.prebuild())
        again = made(await nx.prebuild(force=True))
        assert first == again
        assert len(images(raw, repository)) == 1  # the one whose name was taken is gone
        (repository / "package-lock.json").write_text('{"two": 2}\n')
        git(repository, "commit", "-qam", "newer")
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(partial(prebuilding.keep_fresh, nx._open, every=0.1))
                while len(images(raw, repository)) < 2:  # noqa: ASYNC110 - the engine tells nobody
                    await anyio.sleep(0.1)
                group.cancel_scope.cancel()
        assert await nx.list() == ()
        seen = {action.name: action for action in await nx.prune() if action.kind == "prebuild"}
        assert seen[first].action == "removed"
        assert [action.action for name, action in seen.items() if name != first] == ["kept"]
        assert all(action.size for action in seen.values())
        assert await prebuilding.refresh(nx._open) is None
        (left,) = images(raw, repository)
        # Removed between the choice and the making: the creation goes on without.
        progress: list[str] = []

        def remove(stage: str, text: str, *_: object) -> None:
            progress.append(text)
            if stage == "create" and "making" in text:
                raw.call("DELETE", f"/images/{left['Id']}?force=1")

        ws = await nx.create("a", progress=remove)
        assert "dev.nexus.prebuild" not in ws.info.annotations
        assert (await ws.shell("wc -l </tmp/pre-start-ran", check=True)).stdout.strip() == "1"
        await ws.destroy()
    assert first not in str(left["RepoTags"])


@pytest.mark.docker
async def test_no_secret_is_part_of_it(
    bench: Bench, repository: Path, home: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    raw, word = RawEngine(request.getfixturevalue("engine")), "canary-5c1b9d"
    monkeypatch.setenv("TOKEN", word)
    (home / ".nexus").mkdir(parents=True, exist_ok=True)
    (home / ".nexus" / "config.yaml").write_text(
        "secrets:\n  named:\n    TOKEN: {source: env, var: TOKEN}\n    FILE: {source: env, var: TOKEN, as: file}\n"
    )
    script = SCRIPT + "cat /run/secrets/* >node_modules/files 2>/dev/null || true; env >node_modules/all\n"
    write(repository, script)
    async with bench.open() as nx:
        await nx.prebuild()
        (image,) = images(raw, repository)
        for path in (f"/images/{image['Id']}/json", f"/images/{image['Id']}/history"):
            assert word not in json.dumps(raw.get(path))
        _, archive = raw.call("GET", f"/images/{image['Id']}/get")
        assert len(archive) > 1000
        assert word.encode() not in archive
        ws = await nx.create("a")  # there it is again
        assert (await ws.shell("echo $TOKEN", check=True)).stdout.strip() == word
        await ws.destroy()


@pytest.mark.docker
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("pwd >node_modules/where", "names the folder of the tree"),
        ('ln -sfn "$PWD/package-lock.json" node_modules/absolute', "names the folder of the tree"),
        ("echo more >>package-lock.json", "change files of the commit: package-lock.json"),
    ],
)
async def test_what_cannot_stand_in_for_the_script_lets_it_run_again(
    bench: Bench, repository: Path, line: str, reason: str
) -> None:
    write(repository, f"{SCRIPT}{line}\n")
    async with bench.open() as nx:
        outcome = await nx.prebuild()
        assert reason in outcome.reason
        assert outcome.prebuild is not None
        assert not outcome.prebuild.portable
        ws = await nx.create("a")
        assert ws.info.annotations["dev.nexus.prebuild"] == outcome.prebuild.key
        assert (await ws.shell("wc -l </tmp/pre-start-ran", check=True)).stdout.strip() == "2"
        await nx.destroy("a", force=True)


@pytest.mark.docker
async def test_a_script_that_fails_keeps_nothing(
    bench: Bench, repository: Path, request: pytest.FixtureRequest
) -> None:
    write(repository, "exit 3\n")
    async with bench.open() as nx:
        with pytest.raises(HookFailed, match="pre-start"):
            await nx.prebuild()
        with anyio.move_on_after(0.5):
            write(repository, "sleep 1000\n")
            async with bench.open() as other:
                await other.prebuild()
    assert images(RawEngine(request.getfixturevalue("engine")), repository) == []
    assert await leftovers(bench) == []


@pytest.mark.docker
@pytest.mark.slow
async def test_a_prebuild_that_is_killed_leaves_nothing_for_long(
    bench: Bench, repository: Path, request: pytest.FixtureRequest
) -> None:
    write(repository, "echo begun; sleep 1000\n")
    words = [word for key, value in bench.flags.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "cli_example", *words, "prebuild"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    logs = repository / ".nexus" / "state" / "logs"
    async with await anyio.open_process(command, cwd=repository, env=env, stdout=None, stderr=None) as process:
        with anyio.fail_after(120):
            while not any("begun" in log.read_text() for log in logs.rglob("pre-start*")):  # noqa: ASYNC110
                await anyio.sleep(0.05)
        process.kill()
    write(repository, "true\n")
    async with bench.open() as nx:
        await nx.gc()
        assert await nx.list() == ()
        assert (await nx.prebuild()).action == "made"
    assert await leftovers(bench) == []


async def test_where_there_are_no_images_there_is_nothing_to_prebuild(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for backend in ("local", "mock"):
        async with make_bench(backend, repository, tmp_path, request).open() as nx:
            outcome = await nx.prebuild()
            assert outcome.action == "nothing"
            assert f"the {backend} backend starts from no image" in outcome.reason


async def test_without_scripts_there_is_nothing_to_prebuild(bench: Bench, repository: Path) -> None:
    (repository / ".nexus" / "config.yaml").unlink()
    async with nexus.open(repository, flags=bench.flags) as nx:
        outcome = await nx.prebuild()
    assert (outcome.action, outcome.prebuild) == ("nothing", None)
