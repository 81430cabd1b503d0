"""All of a user's repositories: those named in the user's file and those with workspaces, and no others."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import nexus
from nexus.models.ids import new_workspace_id, parse_name
from nexus.models.requests import ListFilter
from nexus.state import Claim
from tests.workbench import git


def _repository(path: Path) -> Path:
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    git(path, "commit", "-qm", "first", "--allow-empty")
    return path


async def test_every_repository_of_the_user_is_found_and_one_that_is_broken_hides_no_other(
    repository: Path, home: Path, tmp_path: Path
) -> None:
    named, broken, plain = _repository(tmp_path / "named"), _repository(tmp_path / "broken"), tmp_path / "plain"
    plain.mkdir()
    stranger = _repository(tmp_path / "stranger")
    (broken / ".nexus").mkdir()
    (broken / ".nexus" / "config.yaml").write_text("nonsense: 1\n")
    (home / ".nexus").mkdir()
    (home / ".nexus" / "config.yaml").write_text(
        f"workspaces:\n  mine: {{path: {named}}}\n  also: {{path: {named}/.}}\n  bad: {{path: {broken}}}\n"
        f"  gone: {{path: {tmp_path / 'gone'}}}\n  folder: {{path: {plain}}}\n"
    )
    async with nexus.open(repository, flags={"backend": "local"}) as nx:
        await nx.create("a", start=False, labels={"who": "me"})
        await nx.create("b", start=False)
        # Another user's workspace on the same node.
        claim = Claim(
            id=new_workspace_id(),
            name=parse_name("secret"),
            repository=stranger,
            user="somebody-else",
            backend="local",
            created_at=datetime.now(UTC),
        )
        await nx._open.registry.claim(claim)

    found = {entry.root: entry for entry in await nexus.discover()}
    assert set(found) == {repository, named, broken, plain, tmp_path / "gone"}, "no other user's is named"
    assert found[named].names == ("mine", "also")
    assert (found[repository].names, found[repository].claimed) == ((), 2)
    assert found[plain].problem is not None

    listed = {entry.repository.root: entry for entry in await nexus.list_everywhere()}
    assert [entry.name for entry in listed[repository].workspaces] == ["a", "b"]
    assert listed[repository].problem is None
    assert (listed[named].problem, listed[named].workspaces) == (None, ())
    assert "unknown key 'nonsense'" in str(listed[broken].problem)
    assert listed[plain].problem is not None
    assert listed[tmp_path / "gone"].problem is not None
    some = {entry.repository.root: entry for entry in await nexus.list_everywhere(ListFilter(labels={"who": "me"}))}
    assert [entry.name for entry in some[repository].workspaces] == ["a"]

    async with nexus.open(repository, flags={"backend": "local"}) as nx:
        await nx.destroy("a")
    # A repository that was deleted with its workspaces is still told of.
    shutil.rmtree(repository)
    told = {entry.root: entry for entry in await nexus.discover()}
    assert (told[repository].claimed, bool(told[repository].problem)) == (1, True)


async def test_a_repository_that_does_not_answer_is_said_so(repository: Path, home: Path) -> None:
    (home / ".nexus").mkdir()
    (home / ".nexus" / "config.yaml").write_text(f"workspaces: {{mine: {{path: {repository}}}}}\n")
    (entry,) = await nexus.list_everywhere(timeout=1e-9)
    assert "did not answer within" in str(entry.problem)
