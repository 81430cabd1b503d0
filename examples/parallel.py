"""Many attempts at once: one workspace each, the best one is kept.

Run it in any git repository: ``python -m examples.parallel [FOLDER]``
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import anyio

import nexus

ATTEMPTS = {"attempt-a": "3", "attempt-b": "1", "attempt-c": "2"}


@dataclass
class Outcome:
    workspace: str
    score: int


async def attempt(nx: nexus.WorkspaceManager, name: str, change: str, outcomes: list[Outcome]) -> None:
    """Make a change in a workspace of its own, measure it, commit it to the workspace's branch."""
    ws = await nx.create(name, labels={"batch": "parallel"})
    await ws.fs.write_text("score.txt", f"{change}\n")
    measured = await ws.exec("cat", "score.txt", timeout=30, check=True)
    outcomes.append(Outcome(ws.name, int(measured.stdout)))


async def main(folder: str) -> None:
    outcomes: list[Outcome] = []
    async with nexus.open(folder, flags={"backend": "local"}) as nx:
        async with anyio.create_task_group() as group:
            for name, change in ATTEMPTS.items():
                group.start_soon(attempt, nx, name, change, outcomes)
        best = max(outcomes, key=lambda outcome: outcome.score)
        print("best", best.workspace, "with", best.score)
        for outcome in outcomes:
            # Nothing was committed: force keeps each attempt's files under refs/nexus/rescue/ before it goes.
            gone = await nx.destroy(outcome.workspace, force=True)
            print("gone", gone.name, "- kept as", gone.rescued)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else ".")
