"""Who the user is to git, told as git itself tells it; and how git inside is told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import GitError
from nexus.git import GitIdentity, find_repository, git_environment, read_identity
from tests.git.oracle import Git


def said_by_git(git: Git, key: str) -> str | None:
    return git.run("config", "--get", key, check=False).rstrip("\n") or None


async def seen(git: Git) -> GitIdentity:
    found = await read_identity(await find_repository(git.root))
    assert found == GitIdentity(name=said_by_git(git, "user.name"), email=said_by_git(git, "user.email"))
    return found


async def test_the_users_own_configuration_is_read(git: Git) -> None:
    assert await seen(git) == GitIdentity(name="A Person", email="person@example.org")


async def test_the_repository_ranks_above_the_user(git: Git) -> None:
    git.run("config", "user.email", "work@example.com")
    assert await seen(git) == GitIdentity(name="A Person", email="work@example.com")


async def test_the_xdg_file_ranks_below_the_one_in_the_home_folder(git: Git) -> None:
    folder = Path(git.env["XDG_CONFIG_HOME"]) / "git"
    folder.mkdir(parents=True)
    (folder / "config").write_text("[user]\n\tname = Below\n\temail = below@example.org\n")
    assert (await seen(git)).name == "A Person"
    Path(git.env["HOME"], ".gitconfig").unlink()
    assert (await seen(git)).name == "Below"


async def test_nobody_is_nobody(git: Git) -> None:
    Path(git.env["HOME"], ".gitconfig").unlink()
    assert await seen(git) == GitIdentity()


@pytest.mark.parametrize(
    "pattern", ["{root}/", "{root}/.git", "{parent}/", "repo/", "**/repo/**", "elsewhere/", "~/repo/"]
)
async def test_an_identity_for_some_folders_is_included_as_git_includes_it(git: Git, pattern: str) -> None:
    home = Path(git.env["HOME"])
    condition = pattern.format(root=git.root, parent=git.root.parent)
    (home / "work.inc").write_text("[user]\n\temail = included@example.com\n")
    extend(home / ".gitconfig", f'[includeIf "gitdir:{condition}"]\n\tpath = work.inc\n')
    await seen(git)


async def test_another_global_file_is_honoured(git: Git, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("[user]\n\tname = Other\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "other"))
    git.env["GIT_CONFIG_GLOBAL"] = str(tmp_path / "other")
    assert await seen(git) == GitIdentity(name="Other")


async def test_a_name_with_control_characters_reaches_nobody_whole(git: Git) -> None:
    git.run("config", "user.name", "Evil\nGIT_SSH=x\x1b[31m")
    found = await read_identity(await find_repository(git.root))
    assert found.name == "EvilGIT_SSH=x[31m"
    git.run("config", "user.name", "n" * 5000)
    assert (await read_identity(await find_repository(git.root))).name is None


async def test_a_broken_configuration_is_an_error_that_names_the_file(git: Git) -> None:
    repository = await find_repository(git.root)
    Path(git.env["HOME"], ".gitconfig").write_text("[user\nname")
    with pytest.raises(GitError, match="gitconfig"):
        await read_identity(repository)


async def test_a_command_in_the_configuration_is_not_run(git: Git, tmp_path: Path) -> None:
    extend(
        Path(git.env["HOME"], ".gitconfig"),
        f"[core]\n\tfsmonitor = touch {tmp_path}/ran\n[include]\n\tpath = !touch {tmp_path}/ran\n",
    )
    await read_identity(await find_repository(git.root))
    assert not (tmp_path / "ran").exists()


def test_git_understands_the_environment(git: Git) -> None:
    Path(git.env["HOME"], ".gitconfig").unlink()
    env = git_environment(GitIdentity(name="N Ä", email="e@x"), ["/tree", "/tree/*"], over={})
    asked = {key: run(git, env, "config", "--get-all", key) for key in ("user.name", "user.email", "safe.directory")}
    assert asked == {"user.name": "N Ä", "user.email": "e@x", "safe.directory": "/tree\n/tree/*"}


def test_the_workspaces_own_settings_are_kept_and_win(git: Git) -> None:
    own = {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "user.name",
        "GIT_CONFIG_VALUE_0": "Bot",
        "GIT_CONFIG_KEY_1": "pull.rebase",
        "GIT_CONFIG_VALUE_1": "true",
    }
    env = {**own, **git_environment(GitIdentity(name="N", email="e@x"), ["/tree"], over=own)}
    asked = [run(git, env, "config", key) for key in ("user.name", "user.email", "pull.rebase", "safe.directory")]
    assert asked == ["Bot", "e@x", "true", "/tree"]


@pytest.mark.parametrize("own", [{"GIT_CONFIG_COUNT": "many"}, {"GIT_CONFIG_COUNT": "1"}, {"GIT_CONFIG_COUNT": "²"}])
def test_settings_that_git_refuses_are_left_for_git_to_refuse(own: dict[str, str]) -> None:
    assert git_environment(GitIdentity(name="N"), ["/tree"], over=own) == {}


@given(name=st.none() | st.text(min_size=1), folders=st.lists(st.text(min_size=1), max_size=4))
def test_every_pair_is_counted(name: str | None, folders: list[str]) -> None:
    env = git_environment(GitIdentity(name=name), folders, over={})
    count = int(env["GIT_CONFIG_COUNT"])
    assert len(env) == 2 * count + 1
    assert count == len(folders) + (name is not None)


def run(git: Git, env: dict[str, str], *args: str) -> str:
    done = subprocess.run(
        ["git", *args], cwd=git.root, env={**os.environ, **git.env, **env}, capture_output=True, text=True
    )
    return done.stdout.strip()


def extend(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)
