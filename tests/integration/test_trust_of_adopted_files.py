"""What an adopted file wants to run on this host waits for approval, as in a file of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus.errors import NotTrusted
from tests.workbench import Bench, leftovers

pytestmark = pytest.mark.timeout(120)


DEVCONTAINER = '{\n  "features": {"a": {}},\n  "postCreateCommand": "touch ../../../ran"\n}'
COMPOSE = """\
services:
  evil:
    command: [sh, -c, 'touch ../../../ran; exec sleep 1000']
    healthcheck: {test: [CMD, test, -e, ../../../ran], interval: 1s}
"""


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        (".devcontainer.json", DEVCONTAINER, "post-create (FILE:3:24): # postCreateCommand"),
        ("compose.yaml", COMPOSE, "evil"),
    ],
)
async def test_it_waits_for_approval_on_a_backend_that_does_not_isolate(
    repository: Path, name: str, text: str, line: str
) -> None:
    file = repository / name
    file.write_text(text)
    bench = Bench("local", repository, {"backend": "local"})
    told: list[str] = []

    def tell(stage: str, message: str, *_: object) -> None:
        told.append(f"{stage}: {message}")

    async with bench.open() as nx:
        with pytest.raises(NotTrusted) as refused:
            await nx.create("a")
        (item,) = refused.value.unapproved
        assert line.replace("FILE", str(file)) in item
        assert not (repository / "ran").exists()
        await nx.trust.approve([review.item for review in await nx.trust.review()])
        ws = await nx.create("a", progress=tell)
        assert any(message.startswith(f"settings: the project's settings come from {file}") for message in told)
        await ws.destroy(force=True)
        assert (repository / "ran").exists()
    assert await leftovers(bench) == []
