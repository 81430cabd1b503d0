"""A dev container's user, for a person who is not root: whose name, home and ids programs have, and whose files are left.

The library runs in a process of its own. Where this one is root's, that one becomes somebody else: with that person's ids, and with
nothing of root's but reading, since Python itself may lie where only root can read.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import nexus
from nexus.providers.docker.named_user import REPOSITORY
from tests.engine.git_image import GitImage
from tests.engine.raw import RawEngine, socket_of
from tests.engine.user_image import remove_derived, user_image
from tests.workbench import git

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(180)]

SOMEBODY = (12345, 12346)
PROGRAM = r"""
import asyncio, json, os, sys
from pathlib import Path
import nexus

WHO = 'echo "$(id -un) $(id -u):$(id -g) $HOME $USER $(cat ~/tool)"'

async def shown(terminal):
    text = terminal.take_prefix()
    async for data in terminal:
        text += data
    return text.decode().replace("\r", "").strip()

async def main(root, socket):
    told = {}
    flags = {"backend": "docker", "backends.docker.socket": socket}
    async with nexus.open(root, flags=flags) as nx:
        told["listed"] = [str(entry) for entry in nx.config.adopted.unsupported]
        ws = await nx.create("one")
        try:
            tree = ws.info.worktree_path
            told["exec"] = [(await ws.exec("sh", "-c", WHO)).stdout.strip() for _ in range(3)]
            told["hook"] = (tree / "from-hook").read_text().strip()
            terminal = await ws.terminals.open("sh", "-c", WHO)
            told["terminal"] = await shown(terminal)
            await ws.fs.write_text("by-files", "x")
            git = "git -c user.name=A -c user.email=a@example.org"
            await ws.exec("sh", "-c", "mkdir made && echo x >made/file && echo x >~/kept && git add -A && " + git + " commit -qm inside")
            told["commit"] = (await ws.exec("git", "status", "--porcelain")).stdout
            await ws.stop()
            await ws.start()
            told["again"] = (await ws.exec("sh", "-c", WHO + "; cat ~/kept")).stdout.split("\n")[:2]
            told["started"] = (tree / "starts").read_text().split()
            owners = {(found.st_uid, found.st_gid) for path in tree.rglob("*") if (found := path.lstat())}
            owners |= {(found.st_uid, found.st_gid) for path in Path(root, ".git").rglob("*") if (found := path.lstat())}
            told["owners"] = sorted(owners)
        finally:
            await nx.destroy("one", force=True)
    print(json.dumps(told))

asyncio.run(main(*sys.argv[1:]))
"""

INIT = """
import sys
from cli_example import main
sys.argv = ["boulder", "init", "--from", "devcontainer"]
main()
"""
WRITTEN = """
import json
from nexus.config import ConfigStack
stack = ConfigStack.load(".")
print(json.dumps([stack.settings.image, stack.settings.remote_user, stack.adopted and stack.adopted.kind]))
"""


@pytest.fixture
def somewhere() -> Iterator[Path]:
    """A folder that another user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="nexus-users-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


BECOME = r"""
import ctypes, os, sys

def become(uid, gid, group):
    libc = ctypes.CDLL(None, use_errno=True)
    os.setgroups([group])
    os.setresgid(gid, gid, gid)
    keep, version, read_all = 8, 0x20080522, 1 << 2
    assert libc.prctl(keep, 1, 0, 0, 0) == 0
    os.setresuid(uid, uid, uid)
    words = (ctypes.c_uint32 * 6)(read_all, read_all, 0, 0, 0, 0)
    assert libc.capset((ctypes.c_uint32 * 2)(version, 0), words) == 0, ctypes.get_errno()

who = [int(part) for part in sys.argv.pop(1).split(":")]
if os.getuid() == 0:
    become(*who)
"""


def as_somebody(program: str, folder: Path, engine: str, *arguments: str) -> str:
    """Run a program as the person whose folder it is."""
    home = folder / "home"
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(Path(nexus.__file__).parents[1]),
        "NEXUS_STATE_DIR": str(home / "state"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    who = ":".join(map(str, (*SOMEBODY, socket_of(engine).stat().st_gid)))
    argv = [sys.executable, "-c", BECOME + program, who, *arguments]
    ran = subprocess.run(argv, cwd=folder / "app", env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_programs_have_the_users_name_and_home_and_files_are_ours(
    engine: str, somewhere: Path, repository: Path, git_image: GitImage
) -> None:
    raw = RawEngine(engine)
    image = user_image(raw, git_image.name, name="git")
    hook = 'echo "$(id -un) $HOME" >from-hook'
    (repository / ".devcontainer.json").write_text(
        json.dumps(
            {
                "image": image,
                "remoteUser": "dev",
                "containerUser": "dev",
                "postCreateCommand": hook,
                "postStartCommand": "id -un >>starts",
            }
        )
    )
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "a dev container")
    (somewhere / "home").mkdir()
    shutil.copytree(repository, somewhere / "app", symlinks=True)
    ids = SOMEBODY if os.getuid() == 0 else (os.getuid(), os.getgid())
    for path in (somewhere, *somewhere.rglob("*")):
        os.chown(path, *ids, follow_symlinks=False)

    try:
        told = json.loads(as_somebody(PROGRAM, somewhere, engine, str(somewhere / "app"), engine))
        as_somebody(INIT, somewhere, engine)
        again = json.loads(as_somebody(WRITTEN, somewhere, engine))
    finally:
        remove_derived(raw, REPOSITORY)
    who = f"dev {ids[0]}:{ids[1]} /home/dev dev a tool"
    assert told["listed"] == []
    assert told["exec"] == [who] * 3
    assert told["terminal"].endswith(who)
    assert told["hook"] == "dev /home/dev"
    assert told["commit"] == ""
    assert told["again"] == [who, "x"]
    assert told["started"] == ["dev", "dev"]
    assert told["owners"] == [list(ids)]
    assert again == [image, "dev", None]
