"""``make demo``: the main job on a real repository, on this machine's processes and, where an engine answers, on Docker.

Everything happens in a temporary folder; nothing is left behind, and the last lines prove it.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import anyio

import nexus
from nexus.testing.git import make_repository
from nexus.testing.images import TINY_IMAGE, import_tiny_image

FILES = {
    "README.md": "# demo\n",
    "app/main.py": "print('hello from', __file__)\n",
    "run.sh": "#!/bin/sh\nexec echo it runs\n",
}


def say(what: str, detail: object = "") -> None:
    print(f"  {what:<28} {detail}")


async def tour(repository: Path, backend: str, image: str | None) -> None:
    """Two workspaces, commands inside, a switch, a clean end."""
    print(f"\n{backend}")
    async with nexus.open(repository, flags={"backend": backend, **({"image": image} if image else {})}) as nx:
        begun = time.monotonic()
        auth = await nx.create("feature-auth")
        say("created feature-auth", f"{auth.info.branch}, {1000 * (time.monotonic() - begun):.0f} ms, running")
        ui = await nx.create("feature-ui")
        say("created feature-ui", ui.info.branch)

        done = await auth.shell("cat README.md && echo $NEXUS_WORKSPACE && id -u")
        say("ran a command", " / ".join(done.stdout.split("\n")).strip(" /"))
        done = await ui.exec("sh", "-c", "exit 7")
        say("its exit code is a result", done.exit_code)

        await nx.switch("feature-auth")
        switched = await nx.switch("feature-ui")
        say("switched to feature-ui", f"{1000 * switched.seconds:.0f} ms; feature-auth is {await auth.status()}")

        await ui.fs.write_text("idea.txt", "do not lose me\n")
        try:
            await ui.destroy()
        except nexus.errors.UnsavedWork as refused:
            say("destroy refused", refused.lost[0])
        kept = await ui.destroy(force=True)
        say("destroy with force kept it", kept.rescued)
        await auth.destroy()
        say("left behind", [entry.name for entry in await nx.list()] or "nothing")


async def docker_image(nx_folder: Path) -> str | None:
    """Return an image to use, when an engine answers."""
    async with nexus.open(nx_folder) as nx:
        found = {info.name: info for info in await nx.probe()}
    docker = found.get("docker")
    if docker is None or not docker.available:
        print(f"\ndocker\n  left out: {docker.detail if docker else 'its driver is not installed'}")
        return None
    await import_tiny_image()
    return TINY_IMAGE


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="nexus-demo-") as folder:
        # Its own home: the demo neither reads nor writes anything of yours.
        os.environ.update(HOME=folder, XDG_DATA_HOME=f"{folder}/data", XDG_STATE_HOME=f"{folder}/state")
        repository = Path(folder) / "app"
        make_repository(repository, FILES)
        print(f"a git repository with {len(FILES)} files at {repository}")
        await tour(repository, "local", None)
        image = await docker_image(repository)
        if image:
            await tour(repository, "docker", image)
    print("\nall of it done and gone")


if __name__ == "__main__":
    anyio.run(main)
