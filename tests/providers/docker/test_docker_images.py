"""Images: local first, pulled when absent, built once for each content, by a real engine."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nexus.errors import BuildFailed, ImageNotFound, ImagePullFailed, InvalidArgument
from nexus.providers.docker.images import BUILD_REPOSITORY, PullProgress, check_reference
from nexus.providers.docker.provider import DockerProvider
from tests.engine.driving import run
from tests.engine.raw import RawEngine
from tests.providers.docker.conftest import MakeSpec
from tests.requiring import do_without
from tests.unused_ports import unused_port


class Heard:
    """A progress callback that remembers."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, str, int | None, int | None]] = []

    def __call__(self, step: str, message: str, done: int | None = None, total: int | None = None, /) -> None:
        self.reports.append((step, message, done, total))


@pytest.fixture
def project(tmp_path: Path, test_image: str) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {test_image}\nCOPY . /made\nRUN test -f /made/hello.txt\n")
    (folder / "hello.txt").write_text("hello\n")
    return folder


@pytest.fixture
def built(raw: RawEngine) -> Iterator[list[str]]:
    """Names of images that a test built; they are removed again."""
    names: list[str] = []
    yield names
    for name in set(names):
        assert name.startswith(f"{BUILD_REPOSITORY}:")
        raw.call("DELETE", f"/images/{name}?force=1")


@pytest.mark.docker
async def test_a_local_image_is_taken_as_it_is(provider: DockerProvider, make_spec: MakeSpec) -> None:
    spec = make_spec()
    heard = Heard()

    assert await provider.prepare(spec, progress=heard) == spec
    assert heard.reports == []


@pytest.mark.docker
async def test_a_build_is_made_once_for_each_content(
    provider: DockerProvider, make_spec: MakeSpec, project: Path, built: list[str]
) -> None:
    spec = make_spec(image=None, dockerfile=project / "Dockerfile")
    first, second = Heard(), Heard()

    made = await provider.prepare(spec, progress=first)
    built.append(str(made.image))
    again = await provider.prepare(spec, progress=second)
    (project / "hello.txt").write_text("changed\n")
    changed = await provider.prepare(spec)
    built.append(str(changed.image))

    assert again.image == made.image != changed.image
    assert ("image", f"building {project / 'Dockerfile'}", None, None) in first.reports
    assert any(done is not None and done == total for _, _, done, total in first.reports)
    assert not any("building" in message for _, message, _, _ in second.reports)
    instance = await provider.create(changed)
    await instance.start()
    assert (await run(instance, "cat", "/made/hello.txt")).out == b"changed\n"


@pytest.mark.docker
async def test_a_build_sees_neither_ignored_files_nor_what_a_link_points_to(
    provider: DockerProvider, make_spec: MakeSpec, project: Path, tmp_path: Path, built: list[str]
) -> None:
    (tmp_path / "secret").write_text("outside\n")
    (project / "link").symlink_to(tmp_path / "secret")
    (project / "folder-link").symlink_to(tmp_path)
    (project / "node_modules").mkdir()
    (project / "node_modules" / "big").write_text("x")
    (project / ".dockerignore").write_text("node_modules\n")
    made = await provider.prepare(make_spec(image=None, dockerfile=project / "Dockerfile"))
    built.append(str(made.image))
    instance = await provider.create(made)
    await instance.start()

    listed = (await run(instance, "ls", "-A", "/made")).out.split()

    assert listed == [b".dockerignore", b"Dockerfile", b"folder-link", b"hello.txt", b"link"]
    assert (await run(instance, "cat", "/made/link")).code != 0


@pytest.mark.docker
async def test_a_failed_build_gives_the_end_of_its_log(
    provider: DockerProvider, make_spec: MakeSpec, project: Path
) -> None:
    (project / "Dockerfile").write_text((project / "Dockerfile").read_text() + "RUN echo reason-of-failure; exit 9\n")

    with pytest.raises(BuildFailed, match="returned a non-zero code: 9") as caught:
        await provider.prepare(make_spec(image=None, dockerfile=project / "Dockerfile"))

    assert "reason-of-failure" in list(_strings(caught.value.details["log_tail"]))


def _strings(value: object) -> Iterator[str]:
    assert isinstance(value, list)
    yield from value


@pytest.mark.docker
async def test_a_dockerfile_that_is_none_is_a_failure_with_words(
    provider: DockerProvider, make_spec: MakeSpec, project: Path
) -> None:
    (project / "Dockerfile").write_text("this is no dockerfile\n")

    with pytest.raises(BuildFailed, match="unknown instruction"):
        await provider.prepare(make_spec(image=None, dockerfile=project / "Dockerfile"))


@pytest.mark.docker
async def test_a_registry_that_is_not_there_is_a_failed_pull(provider: DockerProvider, make_spec: MakeSpec) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        image = f"127.0.0.1:{closed.getsockname()[1]}/some/image:1"

        with pytest.raises(ImagePullFailed) as caught:
            await provider.prepare(make_spec(image=image))

    assert caught.value.details["image"] == image
    assert "docker pull" in str(caught.value.hint)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of a real registry, where Debian's ``docker-registry`` is installed."""
    program = shutil.which("docker-registry")
    if program is None:
        do_without("docker", "docker-registry is not installed")
    address = f"127.0.0.1:{unused_port()}"
    config: dict[str, Any] = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": address},
    }
    (tmp_path / "registry.json").write_text(json.dumps(config))
    process = subprocess.Popen([program, "serve", str(tmp_path / "registry.json")], stderr=subprocess.DEVNULL)
    try:
        raw = RawEngine(f"tcp://{address}")
        for _ in range(200):
            try:
                raw.call("GET", "/v2/", timeout=1.0)
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.mark.docker
async def test_an_absent_image_is_pulled_with_progress(
    provider: DockerProvider, make_spec: MakeSpec, raw: RawEngine, registry: str, test_image: str
) -> None:
    image = f"{registry}/team/app:one"
    raw.call("POST", f"/images/{test_image}/tag?repo={registry}/team/app&tag=one")
    status, answer = raw.call("POST", f"/images/{registry}/team/app/push?tag=one", body={}, timeout=60)
    assert status == 200, answer
    assert b"error" not in (answer if isinstance(answer, bytes) else b""), answer
    raw.call("DELETE", f"/images/{image}?noprune=1")
    heard = Heard()
    try:
        await provider.prepare(make_spec(image=image), progress=heard)

        assert raw.has_image(image)
        assert heard.reports[0][:2] == ("image", f"pulling {image}")
        assert heard.reports[-1][:2] == ("image", f"pulled {image}")
        with pytest.raises(ImageNotFound, match="nothing"):
            await provider.prepare(make_spec(image=f"{registry}/team/nothing:1"))
    finally:
        raw.call("DELETE", f"/images/{image}?noprune=1")


@pytest.mark.parametrize(
    "image",
    [
        "python",
        "python:3.12",
        "ghcr.io/me/app:main",
        "localhost:5000/a/b_c.d-e:T_1.x",
        "app@sha256:" + "a" * 64,
        "sha256:" + "b" * 64,
    ],
)
def test_names_of_images(image: str) -> None:
    assert check_reference(image) == image


@pytest.mark.parametrize(
    "image",
    [
        "",
        "..",
        "../containers",
        "a/../../b",
        "a?b=c",
        "a#b",
        "a b",
        "A",
        "a:",
        "a//b",
        "%2e%2e",
        "a\n",
        "a:tag/json",
        "x" * 600,
    ],
)
def test_what_is_no_name_never_reaches_the_engine(image: str) -> None:
    with pytest.raises(InvalidArgument):
        check_reference(image)


def test_progress_adds_up_over_layers() -> None:
    sums = PullProgress()

    assert sums.add("a", 10, 100) == (10, 100)
    assert sums.add("b", 5, 50) == (15, 150)
    assert sums.add("a", 100, 100) == (105, 150)
    assert sums.add("", None, None) == (105, 150)
