"""Which ignored files count as work."""

from __future__ import annotations

import os

import pytest

from nexus.errors import GitError
from nexus.git import Worktrees, find_repository
from nexus.git.precious import Precious
from tests.git.oracle import REASON, Git


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        (".env", b".env", True),
        (".env", b"deep/er/.env", True),
        ("/.env", b"deep/.env", False),
        ("/.env", b".env", True),
        ("*.pem", b"keys/a.pem", True),
        ("keys/*.pem", b"keys/a.pem", True),
        ("keys/*.pem", b"keys/more/a.pem", False),
        ("keys/**/*.pem", b"keys/more/a.pem", True),
        ("keys/**/*.pem", b"keys/a.pem", True),
        ("notes/", b"notes", True),
        ("notes/**", b"notes/a/b", True),
        ("[ab].txt", b"b.txt", True),
        ("caf\u00e9", "caf\u00e9".encode(), True),
        ("raw-?", b"raw-\xff", True),
    ],
)
def test_patterns(pattern: str, path: bytes, matches: bool) -> None:
    assert Precious([pattern]).matches(path) is matches


@pytest.mark.parametrize(
    ("pattern", "folder", "leads"),
    [
        ("*.pem", b"node_modules", False),
        ("keys/*.pem", b"keys", True),
        ("keys/*.pem", b"other", False),
        ("a/b/c", b"a/b", True),
        ("a/b/c", b"a/b/c/d", False),
        ("**/x", b"anything/at/all", True),
    ],
)
def test_a_name_alone_opens_no_ignored_folder(pattern: str, folder: bytes, leads: bool) -> None:
    assert Precious([pattern]).may_be_below(folder) is leads


def test_no_pattern_is_no_patterns() -> None:
    assert not Precious([])
    assert not Precious(["", "/", "./"])


async def precious(git: Git, *patterns: str) -> Worktrees:
    git.write(".gitignore", "*.env\nsecret/\nnode_modules/\n")
    git.commit("ignore")
    return Worktrees(await find_repository(git.root), precious=patterns)


async def test_the_report_names_them_and_nothing_else(git: Git) -> None:
    worktrees = await precious(git, "*.env", "secret/keys/")
    made = await worktrees.create("one", reason=REASON)
    for path in ("a.env", "src/b.env", "secret/c.env", "secret/keys/d", "secret/other", "node_modules/x/e.env"):
        file = made.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    (made.path / "secret" / "keys" / "link").symlink_to("/etc/passwd")
    report = await worktrees.report("one")
    assert report.precious == ("a.env", "secret/c.env", "secret/keys/d", "secret/keys/link", "src/b.env")
    assert report.lines() == tuple(f"ignored but precious: {path}" for path in report.precious)


async def test_a_copy_of_what_the_main_checkout_holds_is_no_work(git: Git) -> None:
    worktrees = await precious(git, "*.env")
    git.write("a.env", "same\n")
    git.write("b.env", "other\n")
    made = await worktrees.create("one", reason=REASON)
    (made.path / "a.env").write_text("same\n")
    (made.path / "b.env").write_text("mine\n")
    assert (await worktrees.report("one")).precious == ("b.env",)


async def test_a_repository_in_a_precious_folder_is_refused(git: Git) -> None:
    worktrees = await precious(git, "secret/")
    made = await worktrees.create("one", reason=REASON)
    git.run("init", "-q", str(made.path / "secret" / "vendor"))
    assert "secret/vendor/" in (await worktrees.report("one")).untracked
    with pytest.raises(GitError, match="secret/vendor"):
        await worktrees.rescue("one")


async def test_a_folder_that_cannot_be_read_is_not_clean(git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    worktrees = await precious(git, "secret/")
    made = await worktrees.create("one", reason=REASON)
    (made.path / "secret").mkdir()
    real = os.scandir

    def denied(path: bytes | int) -> object:
        if not isinstance(path, int) and os.fsencode(path).endswith(b"/secret"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("nexus.git.precious.os.scandir", denied)
    report = await worktrees.report("one")
    assert report.unknown == "cannot look into secret/: Permission denied"
    with pytest.raises(GitError, match="secret"):
        await worktrees.rescue("one")
