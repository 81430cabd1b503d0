from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus.errors import InvalidName, RecordDamaged, StateError, WorkspaceNotFound
from nexus.models.workspace import WorkspaceRecord, WorkspaceStatus
from nexus.state import Document, FileStateStore, memory
from nexus.state import store as store_module
from nexus.state.files import open_folder, read_small
from nexus.state.memory import settled_identity
from nexus.state.records import UnreadableRecord, decode_record, encode_record

RecordFactory = Callable[[str], WorkspaceRecord]


def put(store: FileStateStore, name: str, content: bytes | str | dict[str, Any]) -> Path:
    path = store.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = json.dumps(content) if isinstance(content, dict) else content
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def as_json(record: WorkspaceRecord, **changes: object) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(encode_record(record))
    return document | changes


async def test_a_saved_record_comes_back_equal_and_private(store: FileStateStore, new_record: RecordFactory) -> None:
    record = new_record("a")
    await store.save(record)
    assert await store.load("a") == record
    assert await store.load_all() == ((record,), ())
    path = store.path("a")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, path.parent.parent)} == {0o700}
    assert json.loads(path.read_text())["schema_version"] == 1
    assert path.read_text().count("\n") > 20, "people read these files"


async def test_saving_again_replaces_and_leaves_nothing_beside_it(
    store: FileStateStore, new_record: RecordFactory
) -> None:
    record = new_record("a")
    await store.save(record)
    changed = record.model_copy(update={"status": WorkspaceStatus.RUNNING})
    await store.save(changed)
    assert await store.load("a") == changed
    assert [path.name for path in store.path("a").parent.iterdir()] == ["a.json"]


async def test_records_are_listed_by_name(store: FileStateStore, new_record: RecordFactory) -> None:
    for name in ("b", "a-b", "a", "a2"):
        await store.save(new_record(name))
    records, _ = await store.load_all()
    assert [record.name for record in records] == ["a", "a-b", "a2", "b"]


async def test_listing_again_sees_every_change(
    store: FileStateStore, new_record: RecordFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that have been at rest are not read again; one that was written, replaced or removed is."""
    monkeypatch.setattr(memory, "_TICK", 0)
    for name in ("a", "b", "c"):
        await store.save(new_record(name))
    first, _ = await store.load_all()
    reads: list[str] = []

    def reading(folder: int, name: str, limit: int) -> bytes:
        reads.append(name)
        return read_small(folder, name, limit)

    monkeypatch.setattr(store_module, "read_small", reading)
    assert await store.load_all() == (first, ())
    assert reads == []
    changed = first[0].model_copy(update={"status": WorkspaceStatus.RUNNING})
    await store.save(changed)
    await store.delete("b")
    path = store.path("c")
    path.write_bytes(path.read_bytes().replace(b'"local"', b'"another"'))
    (a, c), _ = await store.load_all()
    assert (a, c.backend) == (changed, "another")
    assert reads == ["a.json", "c.json"]
    path.write_text("null")
    _, (damaged,) = await store.load_all()
    assert damaged.name == "c"


async def test_a_file_that_was_touched_just_now_is_read_again(
    store: FileStateStore, new_record: RecordFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one tick of its clock a file system may show two contents under one identity."""
    await store.save(new_record("a"))
    monkeypatch.setattr(memory, "_TICK", 3600 * 10**9)
    with open_folder(store.root, "state", "workspaces") as folder:
        assert settled_identity(folder, "a.json") is None
        monkeypatch.setattr(memory, "_TICK", 0)
        assert settled_identity(folder, "a.json") is not None
        assert settled_identity(folder, "missing.json") is None


async def test_an_empty_repository_has_no_workspaces(store: FileStateStore) -> None:
    assert await store.load_all() == ((), ())
    assert not store.root.exists(), "reading makes nothing"
    with pytest.raises(WorkspaceNotFound):
        await store.load("a")


async def test_delete_is_idempotent(store: FileStateStore, new_record: RecordFactory) -> None:
    await store.delete("a")
    await store.save(new_record("a"))
    await store.delete("a")
    await store.delete("a")
    assert await store.load_all() == ((), ())


@pytest.mark.parametrize("name", ["../a", "a/b", "", ".", "..", "a\0b"])
async def test_a_name_cannot_lead_out_of_the_folder(
    store: FileStateStore, new_record: RecordFactory, name: str
) -> None:
    await store.save(new_record("a"))
    with pytest.raises(InvalidName):
        await store.delete(name)
    with pytest.raises(InvalidName):
        await store.load(name)


DAMAGE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "blank": (b" \n\n", "empty"),
    "only-null": (b"null", "no JSON object"),
    "a-list": (b"[]", "no JSON object"),
    "not-json": (b"hello", "not JSON: line 1, column 1"),
    "other-bytes": (b'{"name": "\xff"}', "not UTF-8 text (byte 10)"),
    "nothing-in-it": (b"{}", "schema_version is None"),
    "huge": (b" " * (1024 * 1024 + 1), "1048577 bytes"),
    "deep": (b'{"config":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "no JSON object"),
    "lone-surrogate": (b'{"schema_version": 1, "name": "\\ud800"}', "no UTF-8 form"),
    "nul-bytes": (b"\0" * 512, "not JSON"),
}


@pytest.mark.parametrize("name", DAMAGE)
async def test_damage_is_listed_with_its_reason_and_never_raises(
    store: FileStateStore, new_record: RecordFactory, name: str
) -> None:
    await store.save(new_record("good"))
    content, reason = DAMAGE[name]
    path = put(store, name, content)
    (record,), (damaged,) = await store.load_all()
    assert record.name == "good"
    assert (damaged.name, damaged.path) == (name, path)
    assert reason in damaged.reason
    with pytest.raises(RecordDamaged) as caught:
        await store.load(name)
    assert reason in caught.value.message
    assert path.read_bytes() == content, "it is left as it is"


async def test_every_truncation_of_a_record_is_damage(store: FileStateStore, new_record: RecordFactory) -> None:
    data = encode_record(new_record("a")).rstrip()
    for length in range(len(data)):
        with pytest.raises(UnreadableRecord):
            decode_record("a", data[:length])
    assert decode_record("a", data).name == "a"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "sleeping"}, "status"),
        ({"ports": {"web": "32801"}}, "ports.web"),
        ({"created_at": 5}, "created_at"),
        ({"unknown_key": 1}, "unknown_key"),
        ({"name": "b"}, "record of 'b', not of 'a'"),
        ({"name": "Not A Name"}, "name"),
        ({"schema_version": 2}, "schema_version is 2, newer than 1"),
        ({"schema_version": 0}, "schema_version is 0, and nothing leads from 0 to 1"),
        ({"schema_version": "1"}, "'1', not a number"),
        ({"schema_version": True}, "True, not a number"),
        ({"id": None, "branch": None, "backend": None, "updated_at": None}, "and 1 more"),
    ],
)
async def test_wrong_values_are_named(
    store: FileStateStore, new_record: RecordFactory, changes: dict[str, object], reason: str
) -> None:
    put(store, "a", as_json(new_record("a"), **changes))
    records, (damaged,) = await store.load_all()
    assert records == ()
    assert reason in damaged.reason


async def test_what_is_no_plain_file_is_not_opened(
    store: FileStateStore, new_record: RecordFactory, tmp_path: Path
) -> None:
    await store.save(new_record("a"))
    outside = tmp_path / "outside.json"
    outside.write_text(json.dumps(as_json(new_record("link"))))
    store.path("link").symlink_to(outside)
    store.path("folder").mkdir()
    os.mkfifo(store.path("pipe"))
    records, damaged = await store.load_all()
    assert [record.name for record in records] == ["a"]
    assert {each.name: each.reason for each in damaged} == {
        "folder": "it is a folder",
        "link": "it is a symbolic link",
        "pipe": "it is not a plain file",
    }
    with pytest.raises(RecordDamaged, match="symbolic link"):
        await store.load("link")
    await store.save(new_record("link"))
    await store.delete("link")
    assert outside.exists(), "the link was replaced, not followed"


async def test_a_file_that_no_workspace_can_own_is_listed(store: FileStateStore, new_record: RecordFactory) -> None:
    put(store, "Not A Name", as_json(new_record("a"), name="Not A Name"))
    folder = store.path("a").parent
    (folder / "notes.txt").write_text("mine")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.json")).write_text("{}")
    records, damaged = await store.load_all()
    assert records == ()
    assert {each.name for each in damaged} == {"Not A Name", "\ufffd"}
    assert {each.reason for each in damaged} == {"its file name is not a workspace name"}
    await store.delete("Not A Name")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
async def test_an_unreadable_file_is_damage(
    store: FileStateStore, new_record: RecordFactory, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    await store.save(new_record("a"))
    await store.save(new_record("b"))
    original = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if path == "a.json":
            raise OSError(number, os.strerror(number))
        return original(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    (record,), (damaged,) = await store.load_all()
    assert (record.name, damaged.name) == ("b", "a")
    assert f"cannot be read: {os.strerror(number)}" in damaged.reason


@pytest.mark.parametrize("place", [".nexus", ".nexus/state", ".nexus/state/workspaces"])
async def test_a_clone_cannot_send_us_elsewhere_by_a_linked_folder(
    store: FileStateStore, new_record: RecordFactory, tmp_path: Path, place: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "state" / "workspaces").mkdir(parents=True)
    (elsewhere / "workspaces").mkdir()
    link = tmp_path / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    for call in (store.save(new_record("a")), store.load_all(), store.load("a"), store.delete("a")):
        with pytest.raises(StateError, match="symbolic link") as caught:
            await call
        assert caught.value.details["path"] == str(link)
    assert sorted(elsewhere.rglob("*")) == before


async def test_state_is_not_made_for_a_repository_that_is_gone(tmp_path: Path, new_record: RecordFactory) -> None:
    store = FileStateStore(tmp_path / "gone" / ".nexus")
    with pytest.raises(StateError, match="does not exist"):
        await store.save(new_record("a"))
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "open"])
async def test_a_full_disk_loses_nothing_and_is_reported_with_numbers(
    store: FileStateStore, new_record: RecordFactory, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    record = new_record("a")
    await store.save(record)
    original = getattr(os, call)

    def full(*arguments: Any, **options: Any) -> Any:
        if call == "open" and not arguments[1] & os.O_CREAT:
            return original(*arguments, **options)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(StateError, match=r"No space left on device, \d+ bytes and \d+ inodes are free") as caught:
            await store.save(record.model_copy(update={"status_message": "new"}))
    assert caught.value.details["errno"] == errno.ENOSPC
    assert isinstance(caught.value.details["free_bytes"], int)
    assert await store.load("a") == record
    assert [path.name for path in store.path("a").parent.iterdir()] == ["a.json"]


async def test_the_kernel_refusing_half_a_write_loses_nothing(
    store: FileStateStore, new_record: RecordFactory, spawn: Callable[..., Any]
) -> None:
    """A real limit of the kernel (RLIMIT_FSIZE) lets only the first 100 bytes through."""
    record = new_record("a")
    await store.save(record)
    program = """
import resource, sys, anyio
from pathlib import Path
from nexus.errors import StateError
from nexus.state import FileStateStore
async def main():
    store = FileStateStore(Path(sys.argv[1]))
    record = await store.load("a")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    try:
        await store.save(record.model_copy(update={"status_message": "new"}))
    except StateError as error:
        print(error.details["errno"])
anyio.run(main)
"""
    output, _ = await anyio.to_thread.run_sync(spawn(program, str(store.root)).communicate)
    assert int(output) == errno.EFBIG
    assert await store.load("a") == record
    assert [path.name for path in store.path("a").parent.iterdir()] == ["a.json"]


async def test_what_a_killed_writer_left_is_swept_and_a_living_one_is_not_disturbed(
    store: FileStateStore, new_record: RecordFactory, spawn: Callable[..., Any]
) -> None:
    await store.save(new_record("a"))
    program = """
import os, sys
from nexus.state.files import _create_temporary, write_all
folder = os.open(sys.argv[1], os.O_RDONLY)
name, handle = _create_temporary(folder, "b.json")
write_all(handle, b"half a rec")
print(name, flush=True)
sys.stdin.read()
"""
    folder = store.path("a").parent
    writer = spawn(program, str(folder))
    name = (await anyio.to_thread.run_sync(writer.stdout.readline)).strip()
    records, damaged = await store.load_all()
    assert ([record.name for record in records], damaged) == (["a"], ())
    assert (folder / name).exists(), "its writer is at work"
    writer.kill()
    writer.wait()
    await store.load_all()
    assert [path.name for path in folder.iterdir()] == ["a.json"]


async def test_readers_never_see_half_a_record(store: FileStateStore, new_record: RecordFactory) -> None:
    record = new_record("a")
    await store.save(record)
    long = record.model_copy(update={"status_message": "x" * 200_000})
    seen: set[int] = set()

    async def read() -> None:
        for _ in range(60):
            records, damaged = await store.load_all()
            assert damaged == ()
            seen.add(len(records))

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        for turn in range(60):
            await store.save(long if turn % 2 else record)
    assert seen == {1}


async def test_a_cancelled_save_never_overtakes_a_later_one(
    store: FileStateStore, new_record: RecordFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio's own cancellation would leave a plain worker thread running on by itself."""
    import asyncio
    import threading

    record = new_record("a")
    entered, go_on = threading.Event(), threading.Event()
    fsync = os.fsync

    def slow(handle: int) -> None:
        entered.set()
        assert go_on.wait(60)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", slow)
    task = asyncio.ensure_future(store.save(record.model_copy(update={"status_message": "old"})))
    await asyncio.to_thread(entered.wait, 60)
    task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done(), "the write is on its way, so the call has not ended"
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.save(record.model_copy(update={"status_message": "new"}))
    assert (await store.load("a")).status_message == "new"


async def test_a_record_that_has_no_utf8_form_is_refused(store: FileStateStore, new_record: RecordFactory) -> None:
    record = new_record("a").model_copy(update={"worktree_path": Path(os.fsdecode(b"/r/\xff"))})
    with pytest.raises(StateError, match="cannot be stored"):
        await store.save(record)
    assert await store.load_all() == ((), ())


async def test_a_record_that_would_be_too_large_to_read_is_not_written(
    store: FileStateStore, new_record: RecordFactory
) -> None:
    await store.save(new_record("a"))
    with pytest.raises(StateError, match="more than the 1048576"):
        await store.save(new_record("a").model_copy(update={"status_message": "x" * 1024 * 1024}))
    assert (await store.load("a")).status_message is None


async def test_an_older_schema_is_brought_up_to_date(root: Path, new_record: RecordFactory) -> None:
    def add_branch(document: Document) -> Document:
        topic = document.pop("topic")
        return {**document, "branch": f"nexus/{topic}"}

    store = FileStateStore(root, migrations={0: add_branch})
    old = as_json(new_record("a"), schema_version=0, topic="a")
    del old["branch"]
    put(store, "a", old)
    record = await store.load("a")
    assert (record.branch, record.schema_version) == ("nexus/a", 1)
    assert (await store.load_all())[0] == (record,)
    assert json.loads(store.path("a").read_text())["schema_version"] == 0, "reading changes nothing"
    await store.save(record)
    assert json.loads(store.path("a").read_text())["schema_version"] == 1
    assert await FileStateStore(root).load("a") == record


async def test_a_damaged_record_of_an_older_schema_does_not_end_the_listing(root: Path) -> None:
    def step(document: Document) -> Document:
        return {"name": document["title"]}

    store = FileStateStore(root, migrations={0: step})
    put(store, "a", {"schema_version": 0})
    _, (damaged,) = await store.load_all()
    assert damaged.reason == "its schema_version is 0, and the step from 0 failed: KeyError: 'title'"


async def test_the_current_workspace(store: FileStateStore) -> None:
    assert await store.current() is None
    await store.set_current(None)
    assert not store.root.exists()
    await store.set_current("a")
    await store.set_current("b")
    assert await store.current() == "b"
    assert (store.root / "current").read_text() == "b\n"
    await store.set_current(None)
    await store.set_current(None)
    assert await store.current() is None
    with pytest.raises(InvalidName):
        await store.set_current("../a")


@pytest.mark.parametrize("content", [b"", b"Not A Name", b"\xff\xfe", b"../../etc/passwd\n", b"a\nb\n", b"a" * 5000])
async def test_garbage_names_no_current_workspace(store: FileStateStore, content: bytes) -> None:
    store.root.mkdir()
    (store.root / "current").write_bytes(content)
    assert await store.current() is None
    await store.set_current("a")
    assert await store.current() == "a"


async def test_a_linked_current_file_is_neither_read_nor_written_through(store: FileStateStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("a\n")
    store.root.mkdir()
    (store.root / "current").symlink_to(outside)
    assert await store.current() is None
    await store.set_current("b")
    assert (await store.current(), outside.read_text()) == ("b", "a\n")


async def test_a_folder_in_place_of_the_current_file(store: FileStateStore) -> None:
    (store.root / "current").mkdir(parents=True)
    assert await store.current() is None
    with pytest.raises(StateError, match="cannot change the current workspace"):
        await store.set_current("a")
    assert [path.name for path in store.root.iterdir()] == ["current"]


@given(data=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_content_makes_the_reader_fail_in_another_way(data: bytes) -> None:
    with pytest.raises(UnreadableRecord):
        decode_record("a", data)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_no_number_in_json_is_damage(new_record: RecordFactory, value: float) -> None:
    data = json.dumps(as_json(new_record("a"), backend_config={"a": value})).encode()
    with pytest.raises(UnreadableRecord):
        decode_record("a", data)
    assert (
        decode_record("a", encode_record(new_record("a").model_copy(update={"description": "Infinity, NaN"}))).name
        == "a"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(sorted(WorkspaceRecord.model_fields)), value=JSON)
def test_any_value_in_any_field_is_a_record_or_damage(new_record: RecordFactory, key: str, value: object) -> None:
    data = json.dumps(as_json(new_record("a"), **{key: value})).encode()
    try:
        record = decode_record("a", data)
    except UnreadableRecord:
        return
    assert decode_record("a", encode_record(record)) == record
