"""The journal: what is about to be done is on the disk before it is done, so that a crash can be finished or undone."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial, reduce
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from pydantic import JsonValue

from nexus.errors import InvalidArgument, StateError
from nexus.models.ids import WorkspaceId
from nexus.processes import identify
from nexus.state.files import UnfitFile, open_folder, read_small, remove, sweep, translated, write_all, write_atomic
from nexus.state.journal_entry import (
    JOURNAL_SCHEMA,
    Header,
    JournalEntry,
    Line,
    encode_line,
    entry_of,
    read_beginning,
    read_entry,
    unreadable_entry,
    with_line,
)
from nexus.state.threads import run_whole

_FOLDER: Final = ("state", "journal")
_SUFFIX: Final = ".jsonl"
_MAX_BYTES: Final = 8 * 1024 * 1024
_APPEND_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class OpenJournal:
    """A journal that this process writes. Made by :class:`Journal`; for one task at a time."""

    def __init__(self, root: Path, entry: JournalEntry, *, durable: bool = True, beginning: bytes = b"") -> None:
        self._root = root
        self._entry = entry
        self._durable = durable
        self._beginning = beginning
        self._closed = False

    @property
    def entry(self) -> JournalEntry:
        """What the journal says by now."""
        return self._entry

    @property
    def closed(self) -> bool:
        """Whether it is gone: the operation is complete, or undone."""
        return self._closed

    async def begin(self) -> None:
        """Put one that was drawn up on the disk.

        Raises:
            StateError: When it cannot be written; nothing may be done then.

        Cancellation:
            No journal is left.
        """
        try:
            await run_whole(self.write)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await run_whole(self.delete)
            raise

    def write(self) -> None:
        """Put one that was drawn up on the disk, as :meth:`begin` does. Blocks: for whoever visits a thread anyway."""
        _create(self._root, self._entry.path, self._beginning, durable=self._durable)

    async def doing(self, *steps: str) -> None:
        """Write down that ``steps`` are about to be taken. Returns when that is on the disk.

        Raises:
            InvalidArgument: When the plan has no such step.
            StateError: When it cannot be written; none of them must be taken then.

        Cancellation:
            The lines may or may not be there: the steps count as begun, and their undo must bear that they never were.
        """
        await self._append(*(Line(doing=step) for step in steps))

    async def done(self, step: str, facts: Mapping[str, JsonValue] | None = None, *, then: Sequence[str] = ()) -> None:
        """Write down that ``step`` is complete, with what it found out and later steps or an undo need.

        Args:
            step: The step.
            facts: What it found out.
            then: Steps that are about to be taken, as for :meth:`doing`; one wait for the disk is enough for all of it.

        Raises:
            InvalidArgument: When the plan has no such step, or a fact is no JSON value.
            StateError: When it cannot be written; what is to come must not be taken then.

        Cancellation:
            The lines may or may not be there: the steps count as begun.
        """
        await self._append(Line(done=step, facts=facts or {}), *(Line(doing=each) for each in then))

    async def close(self, last: Callable[[], object] | None = None, then: Callable[[], object] | None = None) -> None:
        """Delete the journal: the operation is complete, or undone to the last step. Closing twice is fine.

        Args:
            last: The end of the operation, something short that blocks, to be done first on the same visit to a thread. What it
                raises is raised, and the journal stays.
            then: What may be done only when it is gone, on the same visit.

        Raises:
            StateError: When the file cannot be deleted.

        Cancellation:
            The journal is there or gone; recovery bears both.
        """
        if not self._closed:
            await run_whole(partial(self._close, last, then))

    def _close(self, last: Callable[[], object] | None, then: Callable[[], object] | None) -> None:
        if last is not None:
            last()
        self.delete()
        if then is not None:
            then()

    def delete(self) -> None:
        """Delete it, as :meth:`close` does. Blocks: for whoever visits a thread anyway."""
        if not self._closed:
            delete_journal(self._root, self._entry.path.name, durable=self._durable)
            self._closed = True

    async def _append(self, *lines: Line) -> None:
        for line in lines:
            _check(line, self._entry.plan)
        if self._closed:
            raise StateError(f"the journal of {self._entry.operation} {self._entry.name} is closed")
        data = b"".join(map(_encoded, lines))
        # First in memory: when the caller is cancelled while the lines are being written, an undo still sees the steps.
        for line in lines:
            self._entry = with_line(self._entry, line)
        await run_whole(partial(_append_line, self._root, self._entry.path, data, durable=self._durable))


class Journal:
    """The journals of one repository, one file for each operation that is under way: ``<root>/state/journal/<id>.jsonl``.

    The constructor only stores.

    Args:
        root: ``<repository>/.nexus``.
    """

    def __init__(self, root: Path) -> None:
        self.root: Path = root

    async def begin(
        self,
        *,
        operation: str,
        workspace: WorkspaceId,
        name: str,
        plan: Sequence[str],
        facts: Mapping[str, JsonValue],
        doing: Sequence[str] = (),
        durable: bool = True,
    ) -> OpenJournal:
        """Start a journal. Returns when it is on the disk.

        Args:
            operation: What is about to be done: ``create``, ``destroy`` …
            workspace: The workspace's id.
            name: The workspace's name.
            plan: The steps in their order, each once.
            facts: What an undo has to know from the start.
            doing: Steps that are about to be taken, as for :meth:`OpenJournal.doing`.
            durable: Whether it has to outlive the machine. Without, it outlives this process only, and nothing waits for the disk:
                for what a power cut ends anyway, such as running and being paused.

        Raises:
            InvalidArgument: When a step is planned twice, or a fact is no JSON value.
            StateError: When it cannot be written; nothing may be done then.

        Cancellation:
            No journal is left.
        """
        work = self.draw_up(
            operation=operation, workspace=workspace, name=name, plan=plan, facts=facts, doing=doing, durable=durable
        )
        await work.begin()
        return work

    def draw_up(
        self,
        *,
        operation: str,
        workspace: WorkspaceId,
        name: str,
        plan: Sequence[str],
        facts: Mapping[str, JsonValue],
        doing: Sequence[str] = (),
        durable: bool = True,
    ) -> OpenJournal:
        """Return a journal as :meth:`begin` starts it that is not on the disk yet: see :meth:`OpenJournal.begin`.

        Raises:
            InvalidArgument: As :meth:`begin`.
        """
        if len(set(plan)) != len(plan):
            raise InvalidArgument(f"a step is planned twice: {', '.join(plan)}")
        header = Header(
            schema_version=JOURNAL_SCHEMA,
            id=uuid.uuid4().hex,
            operation=operation,
            workspace=workspace,
            name=name,
            plan=tuple(plan),
            facts=facts,
            owner=identify(),
            begun_at=datetime.now(UTC),
        )
        lines = [Line(doing=step) for step in doing]
        for line in lines:
            _check(line, header.plan)
        beginning = b"".join([_encoded(header), *map(_encoded, lines)])
        path = self.root.joinpath(*_FOLDER, header.id + _SUFFIX)
        entry = reduce(with_line, lines, entry_of(path, header, owner_alive=True))
        return OpenJournal(self.root, entry, durable=durable, beginning=beginning)

    async def unfinished(self) -> tuple[JournalEntry, ...]:
        """Return every journal on the disk, oldest first, those of living processes included; damaged ones come last.

        Raises:
            StateError: When the folder is not usable.

        Cancellation:
            Nothing is changed by this call, except that files left by killed writers may have been removed.
        """
        return await to_thread.run_sync(self.read_unfinished)

    async def reopen(self, entry: JournalEntry) -> OpenJournal:
        """Take over a journal whose owner is gone, to finish or undo its operation. This process becomes its owner.

        The caller holds the workspace's lock. That, and not ``owner_alive``, is what keeps two processes from following one
        entry: an owner that gave up on it lives on without the lock.

        Raises:
            StateError: When somebody has closed it since, or it cannot be written.

        Cancellation:
            Either process may be its owner.
        """
        fresh = await run_whole(partial(_take_over, self.root, entry))
        return OpenJournal(self.root, fresh)

    async def discard(self, entry: JournalEntry) -> None:
        """Delete a journal that cannot be followed (``damaged``), after whatever could be found has been put in order.

        Raises:
            StateError: When the file cannot be deleted.

        Cancellation:
            The file is there or gone.
        """
        await run_whole(partial(delete_journal, self.root, entry.path.name))

    def read_unfinished(self, wanted: Callable[[JournalEntry], bool] | None = None) -> tuple[JournalEntry, ...]:
        """Return every journal, as :meth:`unfinished` does. Blocks: for whoever visits a thread anyway.

        Args:
            wanted: Told what a journal is about, from its first line; those that it is false for are left out, and not read further.
        """
        path = self.root.joinpath(*_FOLDER)
        entries: list[JournalEntry] = []
        try:
            with open_folder(self.root, *_FOLDER) as folder, translated("list the journals", path):
                names = sorted(os.listdir(folder))  # noqa: PTH208 - a descriptor, not a path
                sweep(folder, names)
                for name in names:
                    if name.endswith(_SUFFIX) and not name.startswith("."):
                        entries.extend(_read(folder, path / name, wanted))
        except FileNotFoundError:
            return ()
        return tuple(sorted(entries, key=lambda entry: (entry.begun_at is None, entry.begun_at or 0, entry.id)))


def _check(line: Line, plan: Sequence[str]) -> None:
    step = line.doing or line.done
    if step not in plan:
        raise InvalidArgument(f"step {step!r} is not in the plan {', '.join(plan)}")


def _encoded(value: Header | Line) -> bytes:
    try:
        return encode_line(value)
    except ValueError as error:
        raise InvalidArgument(f"a fact of the journal has no JSON form: {error}") from error


def _read(folder: int, path: Path, wanted: Callable[[JournalEntry], bool] | None = None) -> tuple[JournalEntry, ...]:
    try:
        data = read_small(folder, path.name, _MAX_BYTES)
        if wanted is not None and not wanted(read_beginning(path, data)):
            return ()
        return (read_entry(path, data)[0],)
    except FileNotFoundError:
        return ()  # closed since the listing
    except UnfitFile as error:
        return (unreadable_entry(path, str(error)),)


def _create(root: Path, path: Path, data: bytes, *, durable: bool) -> None:
    with translated("write the journal", path), open_folder(root, *_FOLDER, create=True) as folder:
        write_atomic(folder, path.name, data, durable=durable)


def _append_line(root: Path, path: Path, data: bytes, size: int | None = None, *, durable: bool = True) -> None:
    try:
        with open_folder(root, *_FOLDER) as folder, translated("write the journal", path):
            handle = os.open(path.name, _APPEND_FLAGS, dir_fd=folder)
            try:
                before = os.fstat(handle).st_size if size is None else size
                _append_or_undo(handle, data, before, durable=durable)
            finally:
                os.close(handle)
    except FileNotFoundError as error:
        raise StateError(f"the folder of the journal {path} is gone", details={"path": str(path)}) from error


def _append_or_undo(handle: int, data: bytes, size: int, *, durable: bool) -> None:
    try:
        os.ftruncate(handle, size)  # cuts off a line that a crash has torn
        write_all(handle, data)
        if durable:
            os.fsync(handle)
    except OSError:
        # A full disk may have taken half a line, and the next line would be glued to it.
        os.ftruncate(handle, size)
        raise


def _take_over(root: Path, entry: JournalEntry) -> JournalEntry:
    path = root.joinpath(*_FOLDER, entry.path.name)
    try:
        with open_folder(root, *_FOLDER) as folder:
            fresh, whole = read_entry(path, read_small(folder, path.name, _MAX_BYTES))
    except (FileNotFoundError, UnfitFile) as error:
        raise StateError(f"the journal {path} is gone or unreadable", details={"path": str(path)}) from error
    if fresh.damaged is not None:
        raise StateError(f"the journal {path} cannot be followed: {fresh.damaged}", details={"path": str(path)})
    line = Line(owner=identify())
    _append_line(root, path, _encoded(line), whole)
    return with_line(fresh, line).model_copy(update={"owner_alive": True})


def delete_journal(root: Path, name: str, *, durable: bool = True) -> None:
    """Delete one journal file, if it is there. Blocks."""
    try:
        with open_folder(root, *_FOLDER) as folder, translated("delete the journal", root.joinpath(*_FOLDER, name)):
            remove(folder, name, durable=durable)
    except FileNotFoundError:
        return
