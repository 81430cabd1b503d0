"""Best of N: a test fails, N forks of one workspace each try another change, and the best one stays.

Every fork starts with the uncommitted work of the workspace it is forked from, its files and its databases; none sees another.

Run it in any git repository: ``python -m examples.best_of_n [FOLDER]``
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import anyio

import nexus

TEST = """\
. ./discount.sh
test "$(discount 100 10)" = 90 && echo pass
test "$(discount 50 0)" = 50 && echo pass
test "$(discount 30 50)" = 15 && echo pass
"""
BROKEN = 'discount() { echo "$1"; }\n'
IDEAS: Mapping[str, str] = {
    "try-1": "discount() { echo $(($1 - $2)); }\n",
    "try-2": "discount() { echo $(($1 - $1 * $2 / 100)); }\n",
    "try-3": "discount() { echo $(($1 * $2 / 100)); }\n",
}


@dataclass
class Attempt:
    workspace: nexus.Workspace
    passed: int


async def measure(ws: nexus.Workspace) -> int:
    """Return how many checks pass."""
    return (await ws.exec("sh", "test.sh", timeout=30)).stdout.count("pass")


async def attempt(ws: nexus.Workspace, idea: str, attempts: list[Attempt]) -> None:
    """What an agent would do in its fork."""
    await ws.fs.write_text("discount.sh", idea)
    attempts.append(Attempt(ws, await measure(ws)))


async def main(folder: str) -> None:
    attempts: list[Attempt] = []
    async with nexus.open(folder, flags={"backend": "local"}) as nx:
        base = await nx.create("base")
        await base.fs.write_text("discount.sh", BROKEN)
        await base.fs.write_text("test.sh", TEST)
        print("before", await measure(base), "of 3 checks pass")

        mark = await base.checkpoints.create("the failing test")
        async with anyio.create_task_group() as group:
            for fork in await base.fork(list(IDEAS), at=mark):
                if fork.workspace is None:
                    print("no attempt", fork.name, fork.error)
                else:
                    group.start_soon(attempt, fork.workspace, IDEAS[fork.name], attempts)

        for each in sorted(attempts, key=lambda each: each.workspace.name):
            print(each.workspace.name, each.passed, "of 3 checks pass")
        best = max(attempts, key=lambda each: each.passed)
        await base.fs.write_text("discount.sh", await best.workspace.fs.read_text("discount.sh"))
        print("after", best.workspace.name, await measure(base), "of 3 checks pass")
        print("changed", ", ".join((await base.checkpoints.diff(mark)).of("changed")))

        for ws in [each.workspace for each in attempts] + [base]:
            # Nothing was committed: force keeps each one's files under refs/nexus/rescue/ before it goes.
            await ws.destroy(force=True)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else ".")
