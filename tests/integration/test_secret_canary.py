"""One unmistakable value through every source: programs inside get it, and nothing that stays or shows ever has it."""

# ruff: noqa: ASYNC110 - a file of another process tells nobody that it has grown

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import secrets
import socket
import subprocess
import tarfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import anyio
import keyring
import pytest
from pydantic import SecretStr

import nexus
from nexus.errors import ExecFailed, ExecStartError
from nexus.models.events import WorkspaceEvent
from nexus.models.instances import LABEL_REPOSITORY, LABEL_WORKSPACE
from nexus.secrets import SecretStore
from tests import warm
from tests.engine.raw import RawEngine
from tests.secrets.file_keychain import BACKEND, VARIABLE, FileKeychain
from tests.workbench import Bench, make_bench

ROOT = Path(__file__).parents[2]
SOURCES = (
    "BY_ENV",
    "BY_KEYCHAIN",
    "BY_FILE",
    "BY_COMMAND",
    "BY_STORE",
    "BY_USERS_ENV_FILE",
    "BY_PROJECT_FILE",
    "BY_PROJECT_ENV",
    "BY_PROJECT_ENV_FILE",
    "BY_REFERENCE",
)
AS_FILES = ("FILE_OF_USER", "FILE_OF_PROJECT")


@dataclass
class Canary:
    """The value, everything that was looked at, and where it was seen."""

    word: str = field(default_factory=lambda: f"nx{secrets.token_hex(8)}canary")
    found: list[str] = field(default_factory=list)
    looked: int = 0

    def value(self, name: str) -> str:
        return f"{self.word}/{name.lower()}+=&"

    def digest(self, name: str) -> str:
        return hashlib.sha256(self.value(name).encode()).hexdigest()

    def look(self, where: str, data: bytes | str) -> None:
        """Look for the word as it is, and in base64 at each of its three places."""
        data = data.encode("utf-8", "replace") if isinstance(data, str) else data
        self.looked += 1
        spelled = [self.word.encode()]
        spelled += [base64.b64encode(b"x" * n + self.word.encode())[4:-4] for n in range(3)]
        if any(word in data for word in spelled):
            self.found.append(where)

    def look_below(self, *folders: Path) -> None:
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and not path.is_symlink():
                    self.look(str(path), path.read_bytes())

    def look_in_archive(self, where: str, data: bytes) -> None:
        """Look at every file of a tar archive, layers and compressed layers included."""
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        self.look(where, data)
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for entry in archive:
                    content = archive.extractfile(entry) if entry.isreg() else None
                    if content is not None and (entry.name.startswith("blobs/") or entry.name.endswith(".tar")):
                        self.look_in_archive(f"{where}:{entry.name}", content.read())
        except tarfile.ReadError:
            return

    @contextmanager
    def watching_processes(self) -> Iterator[None]:
        """Look at the command lines of all processes of this host, over and over, until the block ends."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.05):
                for entry in os.scandir("/proc"):
                    if entry.name.isdigit():
                        try:
                            self.look(f"command line of {entry.name}", Path(entry.path, "cmdline").read_bytes())
                        except OSError:
                            continue

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.fixture
def canary(home: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Canary]:
    """A user and a project that name a secret from every source there is. Where the values are is outside of what is looked at."""
    made = Canary()
    origins = tmp_path / "origins"
    origins.mkdir()
    (repository / "private").mkdir()
    (repository / ".git" / "info" / "exclude").write_text("private/\n")
    for name in ("BY_FILE", "BY_COMMAND", "FILE_OF_USER"):
        (origins / name).write_text(made.value(name) + "\n")
    for name in ("BY_PROJECT_FILE", "FILE_OF_PROJECT"):
        (repository / "private" / name).write_text(made.value(name))
    (origins / "user.env").write_text(f"BY_USERS_ENV_FILE='{made.value('BY_USERS_ENV_FILE')}'\nBY_ENV=overridden\n")
    (repository / "private" / "project.env").write_text(f"BY_PROJECT_ENV_FILE={made.value('BY_PROJECT_ENV_FILE')}\n")
    for variable, name in (
        ("MINE", "BY_ENV"),
        ("FOR_PROJECT", "BY_PROJECT_ENV"),
        ("REFERRED", "BY_REFERENCE"),
        ("SERVED", "BY_SERVICE"),
    ):
        monkeypatch.setenv(variable, made.value(name))
    monkeypatch.setenv(VARIABLE, str(origins / "keychain.json"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", BACKEND)
    monkeypatch.setenv("NEXUS_SECRETS_PASSPHRASE", made.value("PASSPHRASE"))
    before = keyring.get_keyring()
    keyring.set_keyring(FileKeychain())  # type: ignore[no-untyped-call]
    keyring.set_password("npm", "BY_KEYCHAIN", made.value("BY_KEYCHAIN"))
    (home / ".nexus").mkdir()
    (home / ".nexus" / "config.yaml").write_text(
        f"workspaces: {{app: {{path: {repository}}}}}\n"
        "project_overrides:\n  app:\n    env: {BY_REFERENCE: 'env:REFERRED'}\n    secrets: {allow: [FOR_PROJECT]}\n"
        f"secrets:\n  env_files: [{origins}/user.env]\n  named:\n"
        "    BY_ENV: {source: env, var: MINE}\n"
        "    BY_KEYCHAIN: {source: keychain, service: npm}\n"
        f"    BY_FILE: {{source: file, path: {origins}/BY_FILE}}\n"
        f"    BY_COMMAND: {{source: command, command: [cat, {origins}/BY_COMMAND]}}\n"
        "    BY_STORE: {source: store}\n"
    )
    (repository / ".nexus").mkdir()
    (repository / ".nexus" / "config.yaml").write_text(
        "ports: {web: 3000}\nenv_files: [private/project.env]\nsecrets:\n"
        "  BY_PROJECT_FILE: {source: file, path: private/BY_PROJECT_FILE}\n"
        "  BY_PROJECT_ENV: {source: env, var: FOR_PROJECT}\n"
    )
    yield made
    keyring.set_keyring(before)


def boulder(canary: Canary, bench: Bench, *words: str, feed: str = "") -> int:
    """Run the command line as a process of its own and look at everything it prints."""
    settings = [word for key, value in bench.flags.items() for word in ("--set", f"{key}={value}")]
    done = warm.run(
        ["--verbose", *settings, *words],
        cwd=bench.repository,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        feed=feed.encode(),
    )
    canary.look(f"output of {words}", done.stdout + done.stderr)
    return done.returncode


async def inside(ws: nexus.Workspace, canary: Canary, *, files: bool) -> None:
    """Programs inside have every value, whole."""
    done = await ws.shell("".join(f'printf %s "${name}" | sha256sum\n' for name in SOURCES), check=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == [canary.digest(name) for name in SOURCES]
    if files:
        script = "".join(
            f'echo "${name}_FILE" "$(stat -c %a "${name}_FILE")"; sha256sum <"${name}_FILE"\n' for name in AS_FILES
        )
        lines = (await ws.shell(script, check=True)).stdout.splitlines()
        for index, name in enumerate(AS_FILES):
            assert lines[2 * index].split() == [f"/run/secrets/{name}", "400"]
            assert lines[2 * index + 1].split()[0] == canary.digest(name)


def look_at_engine(engine: RawEngine, canary: Canary, repository: Path, since: float) -> tuple[int, int]:
    """Look at everything that the engine has of this repository; return how many images with its files, and commands, were seen."""
    execs = 0
    label = f"{LABEL_REPOSITORY}={repository}"
    found = engine.labelled(label)
    for number in found["containers"]:
        described = engine.container(number)
        canary.look("inspect container", json.dumps(described))
        for exec_id in described.get("ExecIDs") or ():
            execs += 1
            canary.look("inspect exec", json.dumps(engine.call("GET", f"/exec/{exec_id}/json")[1]))
        canary.look("container's log", str(engine.call("GET", f"/containers/{number}/logs?stdout=1&stderr=1")[1]))
        canary.look("changes of the container", json.dumps(engine.get(f"/containers/{number}/changes")))
        _, archive = engine.call("GET", f"/containers/{number}/export")
        canary.look_in_archive("container's files", archive)
    for number in found["networks"]:
        canary.look("inspect network", json.dumps(engine.get(f"/networks/{number}")))
    numbers = {engine.container(number)["Config"]["Labels"][LABEL_WORKSPACE] for number in found["containers"]}
    states = [
        image["Id"]
        for image in engine.get("/images/json?all=1")
        if (image.get("Labels") or {}).get("dev.nexus.state") in numbers
        or (image.get("Labels") or {}).get(LABEL_REPOSITORY) == str(repository)
    ]
    for image in states:
        canary.look("inspect image", json.dumps(engine.get(f"/images/{image}/json")))
        canary.look("history of image", json.dumps(engine.get(f"/images/{image}/history")))
        _, archive = engine.call("GET", f"/images/{image}/get")
        assert len(archive) > 1000
        canary.look_in_archive("layers of image", archive)
    filters = quote(json.dumps({"type": ["container", "network", "volume", "image"]}))
    status, events = engine.call("GET", f"/events?since={since:.0f}&until={time.time():.0f}&filters={filters}")
    assert status == 200
    canary.look("events of the engine", json.dumps(events) if not isinstance(events, bytes) else events)
    return len(states), execs


def serve(file: Path, bench: Bench) -> None:
    """Have the user's file say that a service is given a secret of theirs."""
    script = 'printf %s "$BY_SERVICE" | sha256sum; exec sleep 10000'
    image = json.dumps(bench.flags.get("image"))
    service = f"{{image: {image}, command: [sh, -c, '{script}'], env: {{BY_SERVICE: 'env:SERVED'}}}}"
    text = file.read_text().replace(
        "    env: {BY_REFERENCE", f"    services: {{teller: {service}}}\n    env: {{BY_REFERENCE", 1
    )
    file.write_text(text)


async def served(ws: nexus.Workspace, canary: Canary) -> None:
    """A service has its variable, and says so without saying it."""
    with anyio.fail_after(60):
        while True:
            log = b"".join([chunk async for chunk in ws.logs(service="teller")])
            if canary.digest("BY_SERVICE").encode() in log:
                break
            await anyio.sleep(0.05)
    canary.look("log of the service", log)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("backend", ["local", pytest.param("docker", marks=pytest.mark.docker)])
async def test_the_canary_is_inside_and_nowhere_else(
    backend: str, canary: Canary, home: Path, repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    docker = backend == "docker"
    if docker:
        with (home / ".nexus" / "config.yaml").open("a") as file:
            file.write(f"    FILE_OF_USER: {{source: file, path: {tmp_path}/origins/FILE_OF_USER, as: file}}\n")
        with (repository / ".nexus" / "config.yaml").open("a") as file:
            file.write("  FILE_OF_PROJECT: {source: file, path: private/FILE_OF_PROJECT, as: file}\n")
    bench = make_bench(backend, repository, tmp_path, request)
    serve(home / ".nexus" / "config.yaml", bench)
    engine = RawEngine(request.getfixturevalue("engine")) if docker else None
    places = (home, repository / ".nexus", repository / ".git", tmp_path / "run")
    events: list[WorkspaceEvent] = []
    since = time.time() - 1
    with canary.watching_processes():
        assert boulder(canary, bench, "secrets", "set", "BY_STORE", feed=canary.value("BY_STORE") + "\n") == 0
        await SecretStore().set("UNUSED", SecretStr(canary.value("UNUSED")))
        async with bench.open() as nx:
            nx.observe(events.append)
            ws = await nx.create("a")
            await inside(ws, canary, files=docker)
            await served(ws, canary)
            await leave_behind(ws, canary)
            await look_at_errors(ws, canary)
            await ws.pause()
            await ws.resume()
            await inside(ws, canary, files=docker)
            await ws.shell("echo precious > untracked", check=True)
            await change_port(ws)
            await inside(ws, canary, files=docker)
            await served(ws, canary)
            mark = await ws.checkpoints.create("with the canary inside")
            (fork,) = await ws.fork(["b"], at=mark)
            assert fork.workspace is not None
            await inside(fork.workspace, canary, files=docker)
            canary.look("checkpoint", f"{mark!r} {mark.model_dump_json()} {await ws.checkpoints.diff(mark)}")
            canary.look("log", b"".join([chunk async for chunk in nx.logs("a")]))
            canary.look("views", f"{ws!r} {nx.config!r} {nx.config.to_json()} {nx.config.settings!r} {await nx.list()}")
            canary.look_below(*places)
            if engine is not None:
                async with ws.spawn("sleep", "1000"):
                    states, execs = look_at_engine(engine, canary, repository, since)
                assert (
                    states == 3
                )  # what it was made again from, and the checkpoint of it and its service that its fork was made from
                assert execs >= 1
            for words in (
                *(
                    ("config", "show"),
                    ("config", "explain", "secrets"),
                    ("config", "explain", "env"),
                    ("secrets", "list"),
                ),
                *(
                    ("doctor",),
                    ("ws", "list", "--json"),
                    ("ws", "exec", "a", "--", "no-such-program"),
                    ("ws", "stop", "a"),
                ),
            ):
                boulder(canary, bench, *words)
        assert boulder(canary, bench, "ws", "destroy", "a", "--force") == 0
        assert boulder(canary, bench, "ws", "destroy", "b", "--force") == 0
    canary.look_below(*places)
    every = ["git", "cat-file", "--batch", "--batch-all-objects", "--unordered"]
    canary.look("objects of git", subprocess.run(every, cwd=repository, check=True, capture_output=True).stdout)
    for event in events:
        canary.look("event", f"{event!r} {event.model_dump_json()}")
    assert canary.found == []
    assert canary.looked > 500
    assert len(events) > 5


async def leave_behind(ws: nexus.Workspace, canary: Canary) -> None:
    """A background process prints all it knows when nobody listens any more: what is kept of that is masked."""
    await ws.shell("mkfifo go && { (read -r _ <go; env; echo 'it is over') & } ; exit 0", check=True)
    await ws.shell("echo > go; rm go", check=True)
    if ws.info.backend != "local":
        return
    logs = [*Path(os.environ["XDG_STATE_HOME"]).rglob("log")]
    with anyio.fail_after(30):
        while not any(b"it is over" in log.read_bytes() for log in logs):
            await anyio.sleep(0.01)
    said = b"".join(log.read_bytes() for log in logs)
    assert b"BY_STORE=***\n" in said
    canary.look("logs of the keeper", said)


async def look_at_errors(ws: nexus.Workspace, canary: Canary) -> None:
    with pytest.raises(ExecFailed) as failed:
        await ws.exec("false", check=True)
    with pytest.raises(ExecStartError) as missing:
        await ws.exec("no-such-program")
    for error in (failed.value, missing.value):
        canary.look("error", f"{error!r} {error.to_json()} {''.join(traceback.format_exception(error))}")


async def change_port(ws: nexus.Workspace) -> None:
    """While it is stopped somebody takes its port, so that on an engine its container is committed and made again."""
    before = ws.ports["web"].host_port
    await ws.stop()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", before))
        taken.listen()
        await ws.start()
    assert ws.ports["web"].host_port != before
