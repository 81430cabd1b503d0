"""Git works in a filled submodule inside a container, and what is done there is neither missed nor lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus.errors import UnsavedWork
from tests.engine.git_image import GitImage
from tests.workbench import Bench, git

ALLOWED = ("-c", "protocol.file.allow=always")


@pytest.mark.docker
@pytest.mark.parametrize("isolation", ["worktree", "clone"])
async def test_git_works_in_a_submodule(
    engine: str, git_image: GitImage, repository: Path, tmp_path: Path, isolation: str
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "-q", "-b", "main")
    (library / "file").write_text("library\n")
    git(library, "add", "-A")
    git(library, "commit", "-qm", "first")
    git(repository, *ALLOWED, "submodule", "add", "-q", str(library), "vendor/library")
    git(repository, "commit", "-qm", "with library")
    flags = {"backend": "docker", "backends.docker.socket": engine, "image": git_image.name, "isolation": isolation}
    bench = Bench("docker", repository, {**flags})
    async with bench.open() as nx:
        ws = await nx.create("a", submodules=True)

        async def inside(script: str) -> str:
            done = await ws.exec("sh", "-c", f"cd vendor/library && {script}")
            assert done.ok, done.stderr
            return done.stdout

        assert await inside("cat file; git status --porcelain; git log --oneline | wc -l") == "library\n1\n"
        assert (await ws.exec("git", "status", "--porcelain", check=True)).stdout == ""
        # What it borrows cannot be written from there.
        refused = await ws.exec("touch", str(repository / ".git/modules/vendor/library/objects/planted"))
        assert not refused.ok
        await inside("echo more >> file; git -c user.name=T -c user.email=t@e commit -qam inside")
        with pytest.raises(UnsavedWork) as told:
            await ws.destroy()
        assert any("in the submodule vendor/library" in line for line in told.value.lost)
        gone = await ws.destroy(force=True)
        assert str(gone.rescued).startswith("refs/nexus/kept/")
        back = await nx.restore("a")
        seen = await back.exec(
            "sh", "-c", "cd vendor/library && git log -1 --format=%s && git status --porcelain", check=True
        )
        assert seen.stdout == "inside\n"
        await back.destroy(force=True)
