"""The first five minutes: create a workspace, run something in it, look at its files, let it go.

Run it in any git repository: ``python -m examples.quickstart [FOLDER]``
"""

from __future__ import annotations

import sys

import anyio

import nexus


async def main(folder: str) -> None:
    async with nexus.open(folder, flags={"backend": "local"}) as nx:
        # The block owns the workspace and destroys it on leaving, but never unsaved work.
        async with nx.create("quickstart") as ws:
            done = await ws.exec("git", "log", "--oneline", "-1")
            print("commit  ", done.stdout.strip())

            done = await ws.shell("echo $NEXUS_WORKSPACE_BRANCH; exit 3")
            print("branch  ", done.stdout.strip(), "- status", done.exit_code)

            await ws.fs.write_text("notes.md", "found it\n")
            print("notes   ", (await ws.exec("cat", "notes.md", check=True)).stdout.strip())
            await ws.fs.remove("notes.md")
        print("left    ", [entry.name for entry in await nx.list()])


if __name__ == "__main__":
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else ".")
