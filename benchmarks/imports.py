"""What ``import nexus`` costs, over an empty interpreter, beside ``import pydantic``."""

from __future__ import annotations

import subprocess
import sys

import anyio

from benchmarks.harness import Effort, Sample, beside, timed


async def _python(code: str) -> float:
    return await timed(lambda: anyio.run_process([sys.executable, "-c", code], stdout=subprocess.DEVNULL))


async def _over_empty(code: str) -> float:
    empty = min([await _python("pass") for _ in range(2)])
    return max(await _python(code) - empty, 1e-4)


async def run(effort: Effort) -> list[Sample]:
    """Measure the bare import, and the import with everything that opening a repository needs."""

    async def pydantic() -> float:
        return await _over_empty("from pydantic import BaseModel")

    async def bare() -> float:
        return await _over_empty("import nexus")

    async def whole() -> float:
        return await _over_empty("import nexus; nexus.open")

    return [
        await beside("import nexus", bare, "import pydantic", pydantic, effort=effort, at_most=2),
        await beside("import nexus; nexus.open", whole, "import pydantic", pydantic, effort=effort),
    ]
