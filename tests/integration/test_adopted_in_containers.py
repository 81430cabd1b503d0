"""Projects with a dev container or a compose file, and no file of ours, as they run on a real engine."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.config import project_template
from tests.workbench import Bench, git, leftovers

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(180)]

DEVCONTAINER = """\
{
  // the image is built from what lies beside the sources
  "name": "Pages",
  "build": {"dockerfile": "Dockerfile", "context": "..", "args": {"GREETING": "built"}, "target": "dev"},
  "containerEnv": {"MODE": "dev"},
  "forwardPorts": [3000],
  "onCreateCommand": "mkdir -p '${containerWorkspaceFolder}/public'",
  "postCreateCommand": {
    "page": "cat /greeting > public/index.html && echo \\"-$MODE\\" >> public/index.html",
    "note": ["sh", "-c", "echo \\"$1\\" > note", "sh", "two words"],
  },
  "postStartCommand": "httpd -p 3000 -h public",
  "features": {"ghcr.io/devcontainers/features/node:1": {}},
}
"""
DOCKERFILE = """\
FROM IMAGE AS dev
ARG GREETING=none
COPY pages/name.txt /name
RUN echo "$GREETING $(cat /name)" > /greeting
FROM dev AS last
RUN echo wrong > /greeting
"""
COMPOSE = """\
services:
  web:
    image: ${IMAGE}
    command: sh -c 'mkdir -p /www && echo "$$GREETING" > /www/index.html && exec httpd -f -p 8000 -h /www'
    environment: {GREETING: "hello ${NAME:-nobody}"}
    ports: ["8000"]
    volumes: ["www:/www"]
    healthcheck: {test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://localhost:8000/"], interval: 1s}
  copy:
    image: ${IMAGE}
    command: ["sh", "-c", "wget -q -O /src/copied http://web:8000/ && exec sleep 100000"]
    volumes: [".:/src"]
    depends_on: {web: {condition: service_healthy}}
  debug: {image: nowhere, profiles: [debug]}
volumes: {www: {}}
"""


def bench_with(repository: Path, engine: str, image: str, files: dict[str, str]) -> Bench:
    for name, text in files.items():
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("IMAGE", image) if name.endswith("Dockerfile") else text)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "as other tools have it")
    return Bench("docker", repository, {"backend": "docker", "backends.docker.socket": engine})


async def page(port: int) -> str:
    """Ask from this host, as a browser would; the server may be on its way up."""
    with anyio.fail_after(60):
        while True:
            try:
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    await stream.send(b"GET / HTTP/1.0\r\n\r\n")
                    answer = b"".join([chunk async for chunk in stream])
                if b"\r\n\r\n" in answer:
                    return answer.partition(b"\r\n\r\n")[2].decode()
            except (OSError, anyio.BrokenResourceError, anyio.EndOfStream):
                pass
            await anyio.sleep(0.1)


async def text_of(path: Path) -> str:
    """Return what a service writes, once it has."""
    with anyio.fail_after(60):
        while True:
            if path.exists() and (text := path.read_text()):
                return text
            await anyio.sleep(0.1)


async def remove_all(nx: nexus.WorkspaceManager) -> None:
    for entry in await nx.list():
        if isinstance(entry, nexus.WorkspaceInfo):
            await nx.destroy(entry.name, force=True)


async def test_a_dev_container_is_built_set_up_and_reachable(repository: Path, engine: str, test_image: str) -> None:
    files = {
        ".devcontainer/devcontainer.json": DEVCONTAINER,
        ".devcontainer/Dockerfile": DOCKERFILE,
        "pages/name.txt": "pages\n",
    }
    bench = bench_with(repository, engine, test_image, files)
    async with bench.open() as nx, AsyncExitStack() as cleanup:
        cleanup.push_async_callback(remove_all, nx)
        assert any("'features' is not installed" in line for line in nx.config.warnings)
        ws = await nx.create("one")
        assert await page(ws.ports["web"].host_port) == "built pages\n-dev\n"
        assert (ws.info.worktree_path / "note").read_text() == "two words\n"
        assert (await ws.exec("sh", "-c", "echo $MODE")).stdout == "dev\n"
    assert await leftovers(bench) == []


async def test_services_of_a_compose_file_run_beside_a_workspace(
    repository: Path, engine: str, test_image: str
) -> None:
    bench = bench_with(repository, engine, test_image, {"compose.yaml": COMPOSE, ".gitignore": ".env\n.nexus\n"})
    (repository / ".env").write_text(f"IMAGE={test_image}\nNAME='Ada'\n")
    bench.extra["image"] = test_image
    async with bench.open() as nx, AsyncExitStack() as cleanup:
        cleanup.push_async_callback(remove_all, nx)
        ws = await nx.create("one")
        assert {name: status.trouble for name, status in ws.services.items()} == {"web": None, "copy": None}
        assert await page(ws.ports["web"].host_port) == "hello Ada\n"
        assert await text_of(ws.info.worktree_path / "copied") == "hello Ada\n"
        assert (await ws.exec("wget", "-q", "-O", "-", "http://localhost:8000/")).stdout == "hello Ada\n"
        services = nx.config.settings.services

    # Written down as a file of ours it is the same project.
    (repository / ".nexus").mkdir(exist_ok=True)
    (repository / ".nexus" / "config.yaml").write_text(project_template(repository, adopted="compose"))
    async with bench.open() as nx:
        assert nx.config.adopted is None
        assert nx.config.settings.services == services
    assert await leftovers(bench) == []
