"""What a user has approved: one small file for each piece of content, in the node's state, never in a repository."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from anyio import to_thread
from pydantic import ValidationError

from nexus.errors import StateError
from nexus.models.trust import Approval, TrustItem
from nexus.state.files import UnfitFile, open_folder, read_small, remove, sweep, translated, write_atomic
from nexus.state.threads import run_whole

_MAX_BYTES: Final = 64 * 1024
_SUFFIX: Final = ".json"
_FIRST_LINE: Final = 120
_OTHERS_WRITE: Final = 0o022


class ApprovalStore:
    """The approvals of this process's user, in ``<state>/trust-<uid>/``.

    The constructor only stores. Several processes may use one folder: each approval is a file of its own, whole or not there.
    A folder that belongs to somebody else, or that others may write, is refused: approvals in it would be theirs.

    Args:
        state: The folder of the node's state. Made on the first write.
    """

    def __init__(self, state: Path) -> None:
        self._given = state
        self._name = f"trust-{os.geteuid()}"

    @property
    def _state(self) -> Path:
        # The way to the state is the user's own, links and all; only what is below it has to be real folders.
        return Path(os.path.realpath(self._given))

    async def unapproved(self, repository: Path, items: Sequence[TrustItem]) -> tuple[TrustItem, ...]:
        """Return those that were not approved for this repository exactly as they are, in order.

        Raises:
            StateError: When the folder cannot be used.
        """
        return await to_thread.run_sync(self._unapproved, repository, tuple(items)) if items else ()

    async def approve(self, repository: Path, items: Sequence[TrustItem]) -> None:
        """Store approvals.

        Raises:
            StateError: When they cannot be stored.

        Cancellation: some may be stored.
        """
        await run_whole(partial(self._approve, repository, tuple(items)))

    async def revoke(self, repository: Path, digests: Sequence[str] | None = None) -> tuple[Approval, ...]:
        """Take approvals back, and return them.

        Args:
            repository: Whose.
            digests: Of which contents; of all when absent.

        Raises:
            StateError: When they cannot be removed.

        Cancellation: some may be gone.
        """
        return await run_whole(partial(self._revoke, repository, None if digests is None else frozenset(digests)))

    async def approvals(self, repository: Path | None = None) -> tuple[Approval, ...]:
        """Return what is approved, for one repository or for all, the oldest first.

        Raises:
            StateError: When the folder cannot be used.
        """
        return tuple(approval for _, approval in await to_thread.run_sync(self._all, repository))

    def _unapproved(self, repository: Path, items: tuple[TrustItem, ...]) -> tuple[TrustItem, ...]:
        try:
            with open_folder(self._state, self._name) as folder:
                self._check(folder)
                return tuple(item for item in items if not _holds(folder, repository, item))
        except FileNotFoundError:
            return items

    def _approve(self, repository: Path, items: tuple[TrustItem, ...]) -> None:
        with (
            translated("store an approval", self._state / self._name),
            open_folder(self._state, self._name, create=True) as folder,
        ):
            self._check(folder)
            for item in items:
                approval = Approval(
                    repository=repository,
                    kind=item.kind,
                    digest=item.digest,
                    where=item.where,
                    first_line=item.lines()[0][:_FIRST_LINE],
                    approved_at=datetime.now(UTC),
                )
                name = _file(repository, item.kind, item.digest)
                write_atomic(folder, name, approval.model_dump_json(indent=2).encode("utf-8", "surrogatepass"))

    def _revoke(self, repository: Path, digests: frozenset[str] | None) -> tuple[Approval, ...]:
        chosen = [
            (name, approval)
            for name, approval in self._all(repository)
            if digests is None or approval.digest in digests
        ]
        if chosen:
            with (
                translated("remove an approval", self._state / self._name),
                open_folder(self._state, self._name) as folder,
            ):
                for name, _ in chosen:
                    remove(folder, name)
        return tuple(approval for _, approval in chosen)

    def _all(self, repository: Path | None) -> tuple[tuple[str, Approval], ...]:
        try:
            with (
                open_folder(self._state, self._name) as folder,
                translated("list the approvals", self._state / self._name),
            ):
                self._check(folder)
                names = sorted(os.listdir(folder))  # noqa: PTH208 - a descriptor, not a path
                sweep(folder, names)
                found = [(name, _read(folder, name)) for name in names if name.endswith(_SUFFIX) and name[0] != "."]
        except FileNotFoundError:
            return ()
        ours = [
            (name, approval)
            for name, approval in found
            if approval is not None and (repository is None or approval.repository == repository)
        ]
        return tuple(sorted(ours, key=lambda entry: entry[1].approved_at))

    def _check(self, folder: int) -> None:
        status = os.fstat(folder)
        if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_WRITE:
            path = self._state / self._name
            raise StateError(
                f"{path} belongs to another user or can be written by others, so what it says was approved by nobody we know",
                hint=f"look who made it, then remove it: rm -r {path}",
                details={"path": str(path)},
            )


def _file(repository: Path, kind: str, digest: str) -> str:
    key = "\0".join((str(repository), kind, digest))
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest() + _SUFFIX


def _holds(folder: int, repository: Path, item: TrustItem) -> bool:
    approval = _read(folder, _file(repository, item.kind, item.digest))
    if approval is None:
        return False
    return (approval.repository, approval.kind, approval.digest) == (repository, item.kind, item.digest)


def _read(folder: int, name: str) -> Approval | None:
    """Return what a file says; one that cannot be read approves nothing."""
    try:
        return Approval.model_validate_json(read_small(folder, name, _MAX_BYTES))
    except (FileNotFoundError, UnfitFile, ValidationError):
        return None
