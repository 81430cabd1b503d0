from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.from_thread
import pytest
from anyio import to_thread
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import InvalidArgument, StateError
from nexus.models.ids import WorkspaceId
from nexus.processes import identify
from nexus.state import Journal, OpenJournal
from nexus.state.journal_entry import JournalEntry, read_entry
from tests.programs import Spawn

WORKSPACE = WorkspaceId("7d0c6a4e-0000-4000-8000-000000000000")
PLAN = ("claim", "ports", "worktree")


@pytest.fixture
def journal(root: Path) -> Journal:
    root.mkdir()
    return Journal(root)


async def begin(journal: Journal, name: str = "a") -> OpenJournal:
    return await journal.begin(
        operation="create", workspace=WORKSPACE, name=name, plan=PLAN, facts={"by": "me", "n": 1}
    )


async def test_what_was_written_is_what_the_next_process_reads(journal: Journal) -> None:
    before = datetime.now(UTC)
    work = await begin(journal)
    await work.doing("claim")
    await work.done("claim", {"n": 2, "base": 32800})
    await work.doing("ports")
    (entry,) = await journal.unfinished()
    assert entry == work.entry
    assert (entry.operation, entry.workspace, entry.name, entry.plan) == ("create", WORKSPACE, "a", PLAN)
    assert (entry.started, entry.finished) == (("claim", "ports"), ("claim",))
    assert entry.facts == {"by": "me", "n": 2, "base": 32800}
    assert (entry.owner, entry.owner_alive, entry.damaged) == (identify(), True, None)
    assert entry.begun_at is not None
    assert before <= entry.begun_at <= datetime.now(UTC)
    assert stat.S_IMODE(entry.path.stat().st_mode) == 0o600
    assert entry.path.parent == journal.root / "state" / "journal"


async def test_a_closed_journal_is_gone_and_cannot_be_written(journal: Journal) -> None:
    work = await begin(journal)
    await work.close()
    await work.close()
    assert await journal.unfinished() == ()
    assert list(work.entry.path.parent.iterdir()) == []
    with pytest.raises(StateError, match="closed"):
        await work.doing("claim")


async def test_no_journals_where_there_is_no_folder(tmp_path: Path) -> None:
    assert await Journal(tmp_path / ".nexus").unfinished() == ()


async def test_a_step_that_is_not_planned_is_refused(journal: Journal) -> None:
    work = await begin(journal)
    with pytest.raises(InvalidArgument, match="'clam' is not in the plan claim, ports, worktree"):
        await work.doing("clam")
    with pytest.raises(InvalidArgument, match="planned twice"):
        await journal.begin(operation="create", workspace=WORKSPACE, name="a", plan=["x", "x"], facts={})
    assert (await journal.unfinished()) == (work.entry,)


async def test_a_journal_somebody_deleted_stops_the_work(journal: Journal) -> None:
    work = await begin(journal)
    work.entry.path.unlink()
    with pytest.raises(StateError, match="cannot write the journal"):
        await work.doing("claim")
    assert await journal.unfinished() == (), "it is not made again with a header missing"


async def test_entries_come_oldest_first_and_damaged_ones_last(journal: Journal) -> None:
    entries = [(await begin(journal, name)).entry for name in ("c", "a", "b")]
    (journal.root / "state/journal/0.jsonl").write_bytes(b"garbage\n")
    found = await journal.unfinished()
    assert [entry.name for entry in found] == ["c", "a", "b", ""]
    assert found[:3] == tuple(entries)
    assert found[3].damaged is not None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "first line"),
        (b"null\n", "first line"),
        (b'{"schema_version": 1, "id": ', "first line"),
        (b"\xff\xfe\n{}\n", "first line"),
        (b'{"doing": "claim"}\n', "first line"),
    ],
)
async def test_an_unreadable_header_is_an_entry_of_its_own(journal: Journal, content: bytes, reason: str) -> None:
    path = journal.root / "state/journal/some.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (entry,) = await journal.unfinished()
    assert (entry.id, entry.path, entry.owner_alive) == ("some", path, False)
    assert entry.damaged is not None
    assert reason in entry.damaged
    with pytest.raises(StateError, match="cannot be followed"):
        await journal.reopen(entry)
    await journal.discard(entry)
    await journal.discard(entry)
    assert await journal.unfinished() == ()


async def test_a_journal_of_a_newer_version_is_left_alone(journal: Journal) -> None:
    work = await begin(journal)
    header = json.loads(work.entry.path.read_text())
    work.entry.path.write_text(json.dumps(header | {"schema_version": 2, "new": True}) + "\n")
    (entry,) = await journal.unfinished()
    assert entry.damaged is not None
    work.entry.path.write_text(json.dumps(header | {"schema_version": 2}) + "\n")
    (entry,) = await journal.unfinished()
    assert entry.damaged == "its schema_version is 2, this version of Nexus knows 1"


async def test_links_and_folders_in_the_journal_are_not_followed(journal: Journal, tmp_path: Path) -> None:
    work = await begin(journal)
    outside = tmp_path / "outside"
    outside.write_bytes(work.entry.path.read_bytes())
    folder = work.entry.path.parent
    await work.close()
    (folder / "link.jsonl").symlink_to(outside)
    (folder / "folder.jsonl").mkdir()
    reasons = {entry.id: entry.damaged for entry in await journal.unfinished()}
    assert reasons == {"link": "it is a symbolic link", "folder": "it is a folder"}


async def test_any_torn_last_line_is_as_if_it_had_never_been_written(journal: Journal) -> None:
    work = await begin(journal)
    await work.doing("claim")
    whole = work.entry
    before = whole.path.read_bytes()
    await work.done("claim", {"base": "ü"})
    data = whole.path.read_bytes()
    for length in range(len(before), len(data) - 1):
        entry, readable = read_entry(whole.path, data[:length])
        assert (entry, readable) == (whole, len(before))
    # Only the end of the line is missing: the line itself is complete.
    assert read_entry(whole.path, data[:-1])[0] == work.entry


async def test_the_next_steps_are_told_with_the_end_of_the_last(journal: Journal) -> None:
    work = await journal.begin(operation="create", workspace=WORKSPACE, name="a", plan=PLAN, facts={}, doing=("claim",))
    assert [*work.entry.started] == ["claim"]
    assert await journal.unfinished() == (work.entry,)
    before = work.entry.path.read_bytes()
    await work.done("claim", {"n": 1}, then=("ports", "worktree"))
    assert (work.entry.started, work.entry.finished) == (PLAN, ("claim",))
    assert await journal.unfinished() == (work.entry,)
    # Whatever is torn was not taken: an end without what comes next is one, and never the other way round.
    data = work.entry.path.read_bytes()
    for length in range(len(before), len(data)):
        entry, _ = read_entry(work.entry.path, data[:length])
        assert entry.damaged is None
        assert entry.finished == ("claim",) or entry.started == ("claim",)
    with pytest.raises(InvalidArgument, match="'prots' is not in the plan"):
        await work.done("ports", then=("prots",))
    assert work.entry.path.read_bytes() == data
    await work.close()


async def test_what_is_about_something_else_is_not_read_to_its_end(journal: Journal) -> None:
    mine, other = await begin(journal), await begin(journal)
    await mine.doing("claim")
    with other.entry.path.open("ab") as file:
        file.write(b"nonsense\n{}\n")
    asked: list[tuple[str, tuple[str, ...]]] = []

    def wanted(entry: JournalEntry) -> bool:
        asked.append((entry.id, entry.started))
        return entry.id == mine.entry.id

    assert journal.read_unfinished(wanted) == (mine.entry,)
    assert sorted(asked) == sorted((each.entry.id, ()) for each in (mine, other))


async def test_recovery_goes_on_behind_a_torn_line(journal: Journal) -> None:
    work = await begin(journal)
    await work.doing("claim")
    with work.entry.path.open("ab") as file:
        file.write(b'{"done": "cla')
    (entry,) = await journal.unfinished()
    again = await journal.reopen(entry)
    await again.done("claim", {"base": 1})
    await again.doing("ports")
    (entry,) = await journal.unfinished()
    assert entry.damaged is None
    assert (entry.started, entry.finished, entry.facts["base"]) == (("claim", "ports"), ("claim",), 1)
    await again.close()
    assert await journal.unfinished() == ()


async def test_garbage_in_the_middle_is_reported_with_what_could_be_read(journal: Journal) -> None:
    work = await begin(journal)
    await work.done("claim")
    with work.entry.path.open("ab") as file:
        file.write(b"garbage\n")
    await work.done("ports")
    (entry,) = await journal.unfinished()
    assert entry.damaged == "its line 3 cannot be read"
    assert entry.finished == ("claim", "ports")


PROGRAM = """
import sys, anyio
from pathlib import Path
from nexus.state import Journal
async def main():
    work = await Journal(Path(sys.argv[1])).begin(
        operation="create", workspace="w", name="a", plan=["claim", "ports"], facts={})
    await work.doing("claim")
    print("ready", flush=True)
    sys.stdin.read()
anyio.run(main)
"""


async def test_a_killed_owner_is_seen_and_its_journal_taken_over(journal: Journal, spawn: Spawn) -> None:
    child = spawn(PROGRAM, str(journal.root))
    assert child.stdout is not None
    assert await to_thread.run_sync(child.stdout.readline) == "ready\n"
    (entry,) = await journal.unfinished()
    assert entry.owner_alive
    assert entry.owner is not None
    assert entry.owner.pid == child.pid
    child.kill()
    child.wait()
    (entry,) = await journal.unfinished()
    assert not entry.owner_alive
    assert (entry.started, entry.finished) == (("claim",), ())
    again = await journal.reopen(entry)
    assert (again.entry.owner, again.entry.owner_alive) == (identify(), True)
    (entry,) = await journal.unfinished()
    assert entry == again.entry
    await again.done("claim")
    await again.close()
    assert await journal.unfinished() == ()


@pytest.mark.parametrize("what", ["start_time", "boot_id"])
async def test_an_owner_whose_process_id_was_used_again_is_gone(journal: Journal, what: str) -> None:
    work = await begin(journal)
    path = work.entry.path
    header = json.loads(path.read_text().splitlines()[0])
    header["owner"][what] = header["owner"][what] - 1 if what == "start_time" else "before"
    path.write_text(json.dumps(header) + "\n")
    (entry,) = await journal.unfinished()
    me = identify()
    assert me is not None
    assert entry.owner is not None
    assert (entry.owner.pid, entry.owner_alive) == (me.pid, False)


async def test_a_journal_that_was_settled_meanwhile_cannot_be_reopened(journal: Journal) -> None:
    work = await begin(journal)
    entry = work.entry
    await work.close()
    with pytest.raises(StateError, match="gone"):
        await journal.reopen(entry)


async def test_a_cancelled_begin_leaves_no_journal(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    fsync = os.fsync
    with anyio.CancelScope() as scope:

        def cancel_while_writing(handle: int) -> None:
            anyio.from_thread.run_sync(scope.cancel)
            fsync(handle)

        monkeypatch.setattr(os, "fsync", cancel_while_writing)
        await begin(journal)
    assert scope.cancelled_caught
    assert await journal.unfinished() == ()


async def test_a_full_disk_leaves_whole_lines(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    work = await begin(journal)
    await work.done("claim")
    before = work.entry.path.read_bytes()
    write = os.write

    def half(handle: int, data: bytes) -> int:
        if len(data) > 5:
            return write(handle, bytes(data[:5]))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(StateError, match="No space left on device"):
            await work.doing("ports")
    assert work.entry.path.read_bytes() == before
    await work.doing("ports")
    (entry,) = await journal.unfinished()
    assert entry.damaged is None
    assert entry.started == ("claim", "ports")


@given(data=st.binary(max_size=300))
def test_no_content_makes_the_reader_fail(data: bytes) -> None:
    entry, readable = read_entry(Path("/x/some.jsonl"), data)
    assert entry.damaged is not None
    assert readable == 0


async def test_a_journal_that_need_not_outlive_the_machine_waits_for_no_disk(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await begin(journal)).close()  # the folders are there
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    work = await journal.begin(
        operation="pause", workspace=WORKSPACE, name="a", plan=PLAN, facts={"n": 1}, durable=False
    )
    await work.doing("claim")
    await work.done("claim", {"n": 2})
    (entry,) = await journal.unfinished()
    assert entry == work.entry
    assert entry.facts == {"n": 2}
    await work.close()
    assert await journal.unfinished() == ()
    assert synced == []
    await (await begin(journal)).close()
    assert synced
