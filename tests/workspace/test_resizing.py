from __future__ import annotations

from pathlib import Path

import pytest

from nexus.models.resources import RESOURCE_CLASSES
from tests.workbench import make_bench


async def test_resources_follow_the_configuration_at_the_next_start_unless_they_were_chosen(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bench = make_bench("mock", repository, tmp_path, request)
    assert bench.world is not None
    config = repository / ".nexus" / "config.yaml"
    config.parent.mkdir()
    config.write_text("resources: small\n")
    small, large = RESOURCE_CLASSES["small"], RESOURCE_CLASSES["large"]
    async with bench.open() as nx:
        usual = await nx.create("usual")
        chosen = await nx.create("chosen", settings={"resources": "medium"})
        assert bench.world.machines[usual.id].spec.resources == small
    config.write_text("resources: large\n")
    async with bench.open() as nx:
        for name in ("usual", "chosen"):
            await nx.start(name)
        assert (await nx.get("usual")).resources == small, "one that runs already stays as it is"
        for name in ("usual", "chosen"):
            await nx.stop(name)
            await nx.start(name)
        assert (await nx.get("usual")).resources == bench.world.machines[usual.id].spec.resources == large
        assert (await nx.stats("usual")).memory_limit == large.memory_limit
        assert (await nx.get("chosen")).resources == RESOURCE_CLASSES["medium"]
        for ws in (usual, chosen):
            await nx.destroy(ws.name)
