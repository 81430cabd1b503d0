"""The number of workspaces on a node, counted across processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import nexus
from nexus.errors import QuotaExceeded
from tests.workbench import Bench, leftovers

CHILD = textwrap.dedent(
    """
    import json, sys
    import anyio
    import nexus
    from nexus.config import ConfigStack
    from nexus.errors import QuotaExceeded

    first, repository, node = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    told = []

    async def main():
        stack = ConfigStack.load(repository, flags={"backend": "local"}, node_file=node)
        async with nexus.open(repository, config=stack) as nx:
            sys.stdin.readline()
            async with anyio.create_task_group() as group:
                for number in range(first, first + 3):
                    group.start_soon(create, nx, f"w{number}")

    async def create(nx, name):
        try:
            await nx.create(name, start=False)
        except QuotaExceeded as error:
            told.append({"message": error.message, "details": dict(error.details)})
        else:
            told.append(name)

    from pathlib import Path
    node = Path(node)
    anyio.run(main)
    print(json.dumps(told))
    """
)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("setting", ["max_workspaces_per_user", "max_workspaces_total"])
async def test_processes_that_create_at_once_stop_exactly_at_the_limit(
    setting: str, repository: Path, tmp_path: Path
) -> None:
    node = tmp_path / "node.yaml"
    node.write_text(f"limits:\n  {setting}: 4\n")
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(first), str(repository), str(node)],
            # Another name in the environment is not another user.
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "USER": f"u{first}",
                "LOGNAME": f"u{first}",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in (0, 3, 6)
    ]
    told: list[object] = []
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        out, _ = child.communicate(timeout=100)
        assert child.returncode == 0
        told += json.loads(out)
    assert len(told) == 9
    made = sorted(str(entry) for entry in told if isinstance(entry, str))
    refused = [entry for entry in told if isinstance(entry, dict)]
    assert (len(made), len(refused)) == (4, 5)
    for error in refused:
        assert "no more than 4 are allowed" in error["message"]
        assert f"{node}:2:" in error["message"]
        assert error["details"] == {
            "setting": f"limits.{setting}",
            "limit": 4,
            "count": 4,
            "place": error["details"]["place"],
        }
    bench = Bench("local", repository, {"backend": "local"})
    async with bench.open() as nx:
        assert sorted(entry.name for entry in await nx.list()) == made
        for name in made[:3]:
            await nx.destroy(name)
    # What was given back can be had again, by any process, up to the limit.
    stack = nexus.ConfigStack.load(repository, flags={"backend": "local"}, node_file=node)
    async with nexus.open(repository, config=stack) as nx:
        for name in ("a", "b", "c"):
            await nx.create(name, start=False)
        with pytest.raises(QuotaExceeded):
            await nx.create("d", start=False)
        for entry in await nx.list():
            await nx.destroy(entry.name)
    assert await leftovers(bench) == []
