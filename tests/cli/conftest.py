"""``boulder`` as a real process in a real repository, with a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from pydantic import JsonValue

import nexus
from tests import warm
from tests.workbench import Bench, end

ROOT = Path(__file__).parents[2]


@dataclass
class Done:
    """What a run of ``boulder`` left."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def json(self) -> JsonValue:
        document: JsonValue = json.loads(self.out)
        return document

    @property
    def names(self) -> list[str]:
        """The names in a JSON list."""
        assert isinstance(self.json, list)
        return [str(entry["name"]) for entry in self.json if isinstance(entry, dict)]


@dataclass
class Boulder:
    """Runs the command line."""

    cwd: Path
    before: tuple[str, ...] = ()
    """Words that come first: the backend, its settings."""
    env: dict[str, str] = field(default_factory=dict)

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "cli_example", *self.before, *words]

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
        return {**kept, "PYTHONPATH": str(ROOT), **self.env}

    def start(self, *words: str, cwd: Path | None = None, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.argv(*words),
            cwd=cwd or self.cwd,
            env=self.environment(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(self, *words: str, cwd: Path | None = None, feed: bytes = b"", ok: bool = True) -> Done:
        place, env = cwd or self.cwd, self.environment()
        if any(
            name in {"PYTHONPATH", "PYTHONUTF8", "PYTHONIOENCODING"} for name in self.env
        ):  # that is read when an interpreter starts
            ran = subprocess.run(self.argv(*words), cwd=place, env=env, input=feed, capture_output=True, check=False)
        else:
            ran = warm.run([*self.before, *words], cwd=place, env=env, feed=feed)
        done = Done(ran.returncode, ran.stdout, ran.stderr.decode())
        assert not ok or done.status == 0, f"{words} ended with {done.status}: {done.err}"
        return done


@contextmanager
def a_daemon(repository: Path, home: Path) -> Iterator[Callable[[], int]]:
    """Run a daemon on a thread of its own; gives what tells how often it was connected to."""
    serving, ready = nexus.Serving(repository), threading.Event()
    folder = home / "data" / "nexus" / f"daemon-{os.geteuid()}"

    async def serve() -> None:
        await serving.run(ready=lambda _: ready.set())

    def visits() -> int:
        return sum(path.read_text().count("comes in as local") for path in folder.glob("*.log"))

    with start_blocking_portal() as portal:
        done = portal.start_task_soon(serve)
        assert ready.wait(30)
        try:
            yield visits
        finally:
            portal.call(serving.stop)
            done.result(30)


@pytest.fixture
def bare(repository: Path) -> Boulder:
    """``boulder`` in the repository, with no option."""
    return Boulder(repository)


@pytest.fixture
async def boulder(repository: Path) -> AsyncGenerator[Boulder, None]:
    """``boulder`` on processes of this machine; afterwards everything is destroyed and nothing may be left."""
    bench = Bench("local", repository, {"backend": "local"})
    yield Boulder(repository, ("--backend", "local"))
    await end(bench)


@pytest.fixture
async def running(boulder: Boulder) -> Boulder:
    """``boulder`` with a running workspace ``a``."""
    async with nexus.open(boulder.cwd, flags={"backend": "local"}) as nx:
        await nx.create("a")
    return boulder


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
async def boulder_anywhere(request: pytest.FixtureRequest, repository: Path) -> AsyncGenerator[Boulder, None]:
    """``boulder`` on each backend that runs real programs."""
    words, flags = _place(request, str(request.param))
    yield Boulder(repository, words)
    await end(Bench(str(request.param), repository, flags))


def _place(request: pytest.FixtureRequest, backend: str) -> tuple[tuple[str, ...], dict[str, JsonValue]]:
    if backend == "local":
        return ("--backend", "local"), {"backend": "local"}
    engine, image = request.getfixturevalue("engine"), request.getfixturevalue("test_image")
    words = ("--backend", "docker", "--set", f"backends.docker.socket={engine}", "--set", f"defaults.image={image}")
    return words, {"backend": "docker", "backends.docker.socket": engine, "image": image}


@pytest.fixture
def wait_for() -> Callable[[subprocess.Popen[bytes], bytes], bytes]:
    """Read a process's output until something is in it."""

    def read_until(process: subprocess.Popen[bytes], wanted: bytes) -> bytes:
        assert process.stdout is not None
        seen = b""
        while wanted not in seen:
            piece = os.read(process.stdout.fileno(), 65536)
            assert piece, f"{wanted!r} never came, only {seen!r}"
            seen += piece
        return seen

    return read_until
