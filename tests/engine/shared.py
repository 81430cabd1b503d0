"""``python -m tests.engine.shared COMMAND …``: run a command with one container engine for all its processes, when one can be had.

Test workers are processes of their own, and two engines cannot share a machine's network: so one is started before them.
"""

from __future__ import annotations

import os
import subprocess
import sys

import anyio

from nexus.errors import ProviderUnavailable
from nexus.testing.engines import running_engine


async def run(command: list[str]) -> int:
    """Return the command's status."""
    named = os.environ.get("NEXUS_TEST_DOCKER_HOST")
    if named:
        return subprocess.run(command, check=False).returncode
    try:
        async with running_engine(in_memory=True, lean=True) as address:
            return await anyio.to_thread.run_sync(
                lambda: (
                    subprocess.run(
                        command, check=False, env={**os.environ, "NEXUS_TEST_DOCKER_HOST": address}
                    ).returncode
                )
            )
    except ProviderUnavailable as reason:
        print(f"no engine for the tests: {reason}", file=sys.stderr)
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(anyio.run(run, sys.argv[1:]))
