"""The engine and the image that docker tests work with.

The first of these is taken: ``NEXUS_TEST_DOCKER_HOST``; an engine that answers at ``DOCKER_HOST`` or on the usual socket; one of
our own, started as root. Where there is none the tests are skipped with the reason, or fail when ``NEXUS_REQUIRE`` names
``docker``. An engine is never started beside another one that shares this machine's network.

Keeping processes takes an experimental engine with a CRIU that its host's kernel suits: ``NEXUS_TEST_CRIU_DOCKER_HOST`` names one where the
first has none. Hardly any has, so these tests are skipped everywhere else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nexus.testing.engines import PrivateEngine, why_not
from nexus.testing.images import rootfs
from tests.engine.made_once import made_once
from tests.engine.raw import RawEngine
from tests.requiring import do_without

TEST_IMAGE = "nexus-test:latest"
CRIU_HOST = "NEXUS_TEST_CRIU_DOCKER_HOST"


def address_of_engine() -> str | None:
    """Return where an engine answers that tests may use; ``None`` where there is none."""
    named = os.environ.get("NEXUS_TEST_DOCKER_HOST")
    for address in (named,) if named else (os.environ.get("DOCKER_HOST"), "unix:///var/run/docker.sock"):
        if address and RawEngine(address).answers():
            return address
    return None


def _running_engine() -> str | None:
    address, named = address_of_engine(), os.environ.get("NEXUS_TEST_DOCKER_HOST")
    if named and address is None:
        do_without("docker", f"the engine at NEXUS_TEST_DOCKER_HOST={named} does not answer")
    return address


@pytest.fixture(scope="session")
def engine() -> Iterator[str]:
    """The address of a real container engine."""
    address = _running_engine()
    if address is not None:
        yield address
        return
    reason = why_not(own_network=False)
    if reason is not None:
        do_without("docker", f"there is no container engine, and none can be started: {reason}")
    own = PrivateEngine(in_memory=True, lean=True)
    try:
        own.start()
        yield own.address
    finally:
        own.remove()


@pytest.fixture(scope="session")
def test_image(engine: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a small local image with a shell, users ``root`` and ``worker``, and the usual small programs."""

    def make(_: Path) -> str:
        RawEngine(engine).import_image(rootfs(), TEST_IMAGE)
        return TEST_IMAGE

    return made_once(tmp_path_factory, "test-image", make)


@pytest.fixture(scope="session")
def criu_engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of an engine that keeps processes and lets them go on. It has the test image."""
    named = os.environ.get(CRIU_HOST)
    if not named:
        address: str = request.getfixturevalue("engine")
        request.getfixturevalue("test_image")
        reason = _keeps_no_processes(RawEngine(address))
        if reason is not None:
            do_without("docker-criu", f"the engine keeps no processes, and {CRIU_HOST} names none that does: {reason}")
        return address
    raw = RawEngine(named)
    if not raw.answers():
        pytest.fail(f"the engine at {CRIU_HOST}={named} does not answer")

    def make(_: Path) -> str:
        raw.import_image(rootfs(), TEST_IMAGE)
        reason = _keeps_no_processes(raw)
        return "" if reason is None else f": {reason}"

    if reason := made_once(tmp_path_factory, "criu", make):
        pytest.fail(f"the engine at {CRIU_HOST}={named} keeps no processes{reason}")
    return named


def _keeps_no_processes(raw: RawEngine) -> str | None:
    if not raw.get("/info")["ExperimentalBuild"]:
        return "it is not experimental"
    body = {"Image": TEST_IMAGE, "Cmd": ["sleep", "60"], "HostConfig": {"NetworkMode": "none", "Init": True}}
    number = raw.call("POST", "/containers/create", body=body)[1]["Id"]
    try:
        raw.call("POST", f"/containers/{number}/start")
        kept, said = raw.call("POST", f"/containers/{number}/checkpoints", body={"CheckpointID": "test", "Exit": True})
        ends = time.monotonic() + 10
        while kept == 201:
            status, said = raw.call("POST", f"/containers/{number}/start?checkpoint=test")
            if status == 204:
                return None
            if "already exists" not in str(said) or time.monotonic() > ends:
                break
        return str(said)
    finally:
        raw.call("DELETE", f"/containers/{number}?force=1")
