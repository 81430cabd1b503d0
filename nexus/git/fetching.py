"""Fetching from a remote, and noting where its branches are."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from dulwich.client import (
    GitClient,
    HTTPUnauthorized,
    SSHGitClient,
    SubprocessSSHVendor,
    SubprocessWrapper,
    default_urllib3_manager,
    get_transport_and_path,
)
from dulwich.config import Config, apply_instead_of
from dulwich.errors import GitProtocolError, HangupException, NotGitRepository
from dulwich.objects import ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from nexus.errors import GitError
from nexus.git.refs import Refs, require_real_path
from nexus.git.repository import opened, read_config
from nexus.models.workspace import Repository

if TYPE_CHECKING:
    from urllib3 import PoolManager

_HEADS: Final = b"refs/heads/"
_MOMENT: Final = 1.0


class Remote(NamedTuple):
    """A configured remote."""

    name: str
    url: str
    specs: tuple[tuple[bytes, bytes], ...]
    """From and to, each with one ``*`` or with none."""

    def tracked(self, theirs: bytes) -> bytes | None:
        """Return our name for one of the remote's refs; ``None`` when it is not fetched."""
        for source, target in self.specs:
            before, star, after = source.partition(b"*")
            if not star:
                if theirs == source:
                    return target
            elif theirs.startswith(before) and theirs.endswith(after) and len(theirs) >= len(before) + len(after):
                middle = theirs[len(before) : len(theirs) - len(after)]
                return target.replace(b"*", middle, 1)
        return None


class Fetched(NamedTuple):
    """What a fetch brought."""

    moved: int
    """Refs of ours that changed."""
    default: bytes | None
    """The remote's own HEAD branch, as a full name."""


def remote_named(config: Config, name: str) -> Remote | None:
    """Return a configured remote; ``None`` when there is none of this name."""
    section = (b"remote", os.fsencode(name))
    try:
        url = os.fsdecode(config.get(section, b"url"))
    except KeyError:
        return None
    try:
        raw = list(config.get_multivar(section, b"fetch"))
    except KeyError:
        raw = []
    specs = [_spec(value) for value in raw or [b"+refs/heads/*:refs/remotes/%s/*" % os.fsencode(name)]]
    return Remote(name, url, tuple(spec for spec in specs if spec is not None))


def _spec(value: bytes) -> tuple[bytes, bytes] | None:
    source, colon, target = value.removeprefix(b"+").partition(b":")
    return (source, target) if colon and target.startswith(b"refs/") and not value.startswith(b"^") else None


class Connection:
    """One fetch, which another thread can break off.

    Args:
        repository: Where the objects go.
        remote: From where.
        timeout: Seconds that one network read may take.
    """

    def __init__(self, repository: Repository, remote: Remote, timeout: float) -> None:
        self._repository = repository
        self._remote = remote
        self._timeout = timeout
        self._ssh = _Ssh()
        self._ended = threading.Event()

    def abort(self) -> None:
        """End the programs that the fetch has started, so that the thread in it fails, and give that a moment. Blocks."""
        self._ssh.kill()
        self._ended.wait(_MOMENT)

    def fetch(self) -> Mapping[bytes, bytes]:
        """Bring the objects, and return the remote's refs; ``HEAD`` is ``ref: <name>`` where it is known which it names.

        Only objects are written, so a fetch that is broken off leaves nothing that counts.

        Raises:
            GitError: When the remote cannot be reached or refuses.
        """
        try:
            return self._fetch()
        finally:
            self._ended.set()

    def _fetch(self) -> Mapping[bytes, bytes]:
        config = read_config(self._repository)
        try:
            with opened(self._repository) as repo:
                client, path = self._client(config)
                result = client.fetch(path, repo, determine_wants=lambda refs, _=None: self._wanted(repo, refs))
        except (HTTPUnauthorized, PermissionError) as error:
            raise self._failed("refuses access", "check your credentials for it") from error
        except NotGitRepository as error:
            raise self._failed("has no git repository there", "check the address: git remote -v") from error
        except (OSError, HangupException, GitProtocolError, ValueError, KeyError, AssertionError) as error:
            reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
            raise self._failed(f"cannot be fetched from: {reason}", "are you online? does `git fetch` work?") from error
        found = {bytes(name): bytes(sha) for name, sha in result.refs.items() if sha is not None}
        head = result.symrefs.get(Ref(b"HEAD"))
        if head is not None:
            found[b"HEAD"] = b"ref: " + head
        return found

    def _failed(self, what: str, hint: str) -> GitError:
        shown = _without_password(self._remote.url)
        return GitError(
            f"the remote {self._remote.name!r} ({shown}) {what}",
            hint=hint,
            details={"remote": self._remote.name, "url": shown},
        )

    def _client(self, config: Config) -> tuple[GitClient, str]:
        pool: PoolManager | None = None
        url = apply_instead_of(config, self._remote.url)
        if url.startswith(("http://", "https://")):
            # Without a callback for passwords it is always the plain manager.
            pool = cast("PoolManager", default_urllib3_manager(config, timeout=self._timeout, base_url=url))
        client, path = get_transport_and_path(
            self._url(),
            config=config,
            operation="pull",
            pool_manager=pool,
            quiet=True,
            ssh_command=os.environ.get("GIT_SSH_COMMAND") or os.environ.get("GIT_SSH"),
        )
        if isinstance(client, SSHGitClient):
            client.ssh_vendor = self._ssh
        return client, path

    def _url(self) -> str:
        # A remote can be a path relative to the main work tree.
        url = self._remote.url
        local = self._repository.root / url
        return str(local) if "://" not in url and local.is_dir() else url

    def _wanted(self, repo: Repo, refs: Mapping[Ref, ObjectID]) -> list[ObjectID]:
        wanted = {sha for name, sha in refs.items() if self._remote.tracked(name) is not None}
        return [sha for sha in wanted if sha not in repo.object_store]


class _Ssh(SubprocessSSHVendor):
    """The user's ssh program, which can be ended from outside."""

    def __init__(self) -> None:
        super().__init__()
        self._running: list[subprocess.Popen[bytes]] = []

    def run_command(  # noqa: PLR0917 - the library's signature
        self,
        host: str,
        command: bytes,
        username: str | None = None,
        port: int | None = None,
        password: str | None = None,
        key_filename: str | None = None,
        ssh_command: str | None = None,
        protocol_version: int | None = None,
    ) -> SubprocessWrapper:
        """Start ssh as dulwich does, and remember it."""
        started = super().run_command(
            host, command, username, port, password, key_filename, ssh_command, protocol_version
        )
        self._running.append(started.proc)
        return started

    def kill(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
                process.wait()


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or "@" not in rest.split("/", 1)[0]:
        return url
    host, slash, path = rest.partition("/")
    return f"{scheme}://***@{host.rpartition('@')[2]}{slash}{path}"


def note_refs(repo: Repo, repository: Repository, remote: Remote, theirs: Mapping[bytes, bytes]) -> Fetched:
    """Move our remote branches to where the remote has them now."""
    refs = Refs(repository.common_dir)
    moved = 0
    for name, sha in sorted(theirs.items()):
        ours = remote.tracked(name)
        if (
            ours is None
            or sha.startswith(b"ref: ")
            or ours.startswith(_HEADS)
            or ObjectID(sha) not in repo.object_store
        ):
            # A spec that writes into our own branches would move them under whoever has them checked out.
            continue
        before = refs.get(ours)
        if before == sha:
            continue
        require_real_path(repository.common_dir, os.fsdecode(ours))
        old = None if before is None else ObjectID(before)
        moved += repo.refs.set_if_equals(Ref(ours), old, ObjectID(sha))
    head = theirs.get(b"HEAD", b"")
    return Fetched(moved, head.removeprefix(b"ref: ") if head.startswith(b"ref: ") else None)
