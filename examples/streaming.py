"""Work with a command while it runs: events with byte offsets, lines, standard input, a clean end.

Run it in any git repository: ``python -m examples.streaming [FOLDER]``
"""

from __future__ import annotations

import sys

import anyio

import nexus


async def main(folder: str) -> None:
    async with nexus.open(folder, flags={"backend": "local"}) as nx, nx.create("streaming") as ws:
        async with ws.spawn("sh", "-c", "echo out; echo err >&2; exit 4") as process:
            async for event in process:
                match event:
                    case nexus.Started(pid=pid):
                        print("started", "with a process id" if pid else "")
                    case nexus.Output(stream=stream, offset=offset, data=data):
                        print(f"{stream}@{offset}: {data.decode().strip()}")
                    case nexus.Gap(start=start, end=end):
                        print(f"lost {end - start} bytes")
                    case nexus.Exited(exit_code=code):
                        print("status", code)

        async with ws.spawn("cat", stdin=True) as process:
            await process.write("one\ntwo\n")
            await process.write_eof()
            async for line in process.lines():
                print("line:", line)

        # Leaving the block ends the whole process group: TERM, a grace time, KILL.
        async with ws.spawn("sleep", "1000"):
            pass
        print("ended")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else ".")
