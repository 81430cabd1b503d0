"""What was approved stays approved, for exactly that content, that repository and that user, and nobody else can say so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import StateError
from nexus.models.trust import TrustItem, visible
from nexus.state import ApprovalStore

ITEM = TrustItem(kind="pre-start", where="a.yaml:3:5", content="npm install\n")
REPO = Path("/srv/app")


async def test_only_exactly_what_was_approved_is(tmp_path: Path) -> None:
    store = ApprovalStore(tmp_path / "state")
    (tmp_path / "state").mkdir()
    others = [
        ITEM.model_copy(update={"content": "npm install \n"}),
        ITEM.model_copy(update={"kind": "post-start"}),
    ]
    assert await store.unapproved(REPO, [ITEM, *others]) == (ITEM, *others)
    await store.approve(REPO, [ITEM])
    again = ApprovalStore(tmp_path / "state")
    assert await again.unapproved(REPO, [ITEM, *others]) == tuple(others)
    moved = ITEM.model_copy(update={"where": "a.yaml:90:1"})
    assert await again.unapproved(REPO, [moved]) == ()
    assert await again.unapproved(Path("/srv/other"), [ITEM]) == (ITEM,)


async def test_approvals_can_be_listed_and_taken_back(tmp_path: Path) -> None:
    store = ApprovalStore(tmp_path)
    other = ITEM.model_copy(update={"content": "make"})
    await store.approve(REPO, [ITEM, other])
    await store.approve(Path("/srv/other"), [ITEM])
    listed = await store.approvals(REPO)
    assert [(entry.kind, entry.first_line, entry.digest) for entry in listed] == [
        ("pre-start", "npm install", ITEM.digest),
        ("pre-start", "make", other.digest),
    ]
    assert len(await store.approvals()) == 3
    assert [entry.digest for entry in await store.revoke(REPO, [other.digest])] == [other.digest]
    assert await store.unapproved(REPO, [ITEM, other]) == (other,)
    assert len(await store.revoke(REPO)) == 1
    assert len(await store.approvals()) == 1


async def test_files_are_for_their_owner_alone_and_damage_approves_nothing(tmp_path: Path) -> None:
    store = ApprovalStore(tmp_path)
    await store.approve(REPO, [ITEM])
    folder = tmp_path / f"trust-{os.getuid()}"
    (file,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    # A file of another name cannot speak for this content, whatever it says.
    renamed = file.rename(folder / ("0" * 64 + ".json"))
    assert await store.unapproved(REPO, [ITEM]) == (ITEM,)
    renamed.rename(file)
    file.write_text("{}")
    assert await store.unapproved(REPO, [ITEM]) == (ITEM,)
    assert await store.approvals() == ()


async def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    store = ApprovalStore(tmp_path)
    await store.approve(REPO, [ITEM])
    (tmp_path / f"trust-{os.getuid()}").chmod(0o770)
    with pytest.raises(StateError, match="can be written by others"):
        await store.unapproved(REPO, [ITEM])


async def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    elsewhere = ApprovalStore(tmp_path / "clone")
    (tmp_path / "clone").mkdir()
    await elsewhere.approve(REPO, [ITEM])
    (tmp_path / "state").mkdir()
    name = f"trust-{os.getuid()}"
    (tmp_path / "state" / name).symlink_to(tmp_path / "clone" / name)
    with pytest.raises(StateError, match="symbolic link"):
        await ApprovalStore(tmp_path / "state").unapproved(REPO, [ITEM])


def test_no_line_can_hide_another() -> None:
    trick = TrustItem(
        kind="pre-start", where="x", content="rm -rf ~\r\x1b[2Kecho hello\u202e\u2028last\n\techo\x9b2J\n"
    )
    assert trick.lines() == (r"rm -rf ~\r\x1b[2Kecho hello\u202e\u2028last", "\techo" + r"\x9b2J")
    assert "\x1b" not in trick.summary()


@given(st.text())
def test_what_is_shown_is_printable(text: str) -> None:
    assert all(char.isprintable() or char == "\t" for char in visible(text))


@given(st.text(), st.text())
def test_two_contents_never_share_an_approval(one: str, other: str) -> None:
    first, second = (TrustItem(kind="k", where="w", content=text) for text in (one, other))
    assert (first.digest == second.digest) == (one == other)
