"""The whole way in a repository of real size: 5,000 files, 200 commits, packed, tagged, with links and scripts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.workbench import git, leftovers, make_bench

FILES, COMMITS = 5000, 200


def generate(root: Path) -> None:
    """Write the history with ``git fast-import``, as a mirror of a grown project would look."""
    stream = [b"reset refs/heads/main\n"]
    per_commit = FILES // COMMITS
    for commit in range(COMMITS):
        message = b"change %d" % commit
        stream.append(
            b"commit refs/heads/main\ncommitter T <t@example.com> %d +0000\ndata %d\n%s\n"
            % (1700000000 + commit, len(message), message)
        )
        for number in range(commit * per_commit, (commit + 1) * per_commit):
            body = b"# module %d\n" % number + b"value = 'a line of code that is as long as lines are'\n" * (
                number % 40
            )
            mode = b"100755" if number % 50 == 0 else b"100644"
            stream.append(
                b"M %s inline package%d/sub%d/module%d.py\ndata %d\n%s\n"
                % (mode, number % 40, number % 7, number, len(body), body)
            )
        target = b"package0/sub0/module0.py"
        stream.append(b"M 120000 inline links/link%d\ndata %d\n%s\n" % (commit, len(target) + 3, b"../" + target))
    subprocess.run(["git", "fast-import", "--quiet", "--force"], cwd=root, input=b"".join(stream), check=True)
    git(root, "checkout", "-q", "-f", "main")
    git(root, "tag", "v1.0", "HEAD~50")
    git(root, "gc", "-q")


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("backend", ["local", pytest.param("docker", marks=pytest.mark.docker)])
async def test_from_creation_to_a_clean_end(
    backend: str, request: pytest.FixtureRequest, repository: Path, tmp_path: Path
) -> None:
    generate(repository)
    place = make_bench(backend, repository, tmp_path, request)
    said: list[tuple[str, int | None, int | None]] = []
    async with place.open() as nx:
        ws = await nx.create("big", progress=lambda step, _, done=None, total=None: said.append((step, done, total)))
        tree = ws.info.worktree_path
        assert git(tree, "status", "--porcelain") == ""
        assert len(git(tree, "ls-files").splitlines()) == FILES + COMMITS
        assert int(git(tree, "rev-list", "--count", "HEAD")) == COMMITS
        assert ("worktree", FILES, FILES) in said
        counted = await ws.shell("find . -name 'module*.py' | wc -l", check=True)
        assert int(counted.stdout) == FILES

        old = await nx.create("old", start_point="v1.0")
        await nx.switch("big")
        await nx.switch("old")
        assert len(git(old.info.worktree_path, "ls-files", "package0").splitlines()) < len(
            git(tree, "ls-files", "package0").splitlines()
        )

        await ws.fs.write_text("package0/new.py", "new = True\n")
        kept = await ws.destroy(force=True)
        assert git(repository, "show", f"{kept.rescued}:package0/new.py") == "new = True\n"
        await old.destroy()
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "fsck", "--no-dangling") == ""
    assert await leftovers(place) == []
