"""Filling submodules of a new worktree, where their content is in the repository already. Nothing is fetched, no program runs.

Each gets a git directory of its own at the place where git itself would put it: ``modules/<name>`` of the worktree's entry. It borrows
the objects of the main checkout's ``.git/modules/<name>``, which a container can only read; a private clone gets a copy of them.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple

from dulwich.objects import Commit, ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from nexus.errors import GitError
from nexus.git import beneath, layout, reflog
from nexus.git.checkout import check_out
from nexus.git.cloning import clone_configuration
from nexus.git.copying_whole import copy_whole
from nexus.git.index_file import LINK, SUBMODULE, format_index
from nexus.git.objects import stored
from nexus.git.plain_store import require_plain
from nexus.git.ref_deletion import delete_ref
from nexus.git.refs import Refs, require_real_path
from nexus.git.repository import opened, read_config
from nexus.git.submodules import FILE, LIMIT, Submodule, git_dirs, named_submodules
from nexus.git.threads import Stop
from nexus.git.trees import TreeFile, flatten, shown
from nexus.models.workspace import Repository

_MAX_DEPTH: Final = 8
_SHOWN: Final = 5


class Outer(NamedTuple):
    """The repository that submodules belong to: the main one, or a submodule itself."""

    source: Path
    """The main checkout's git directory of it."""
    private: Path
    """The worktree's own."""
    tree: Path
    prefix: bytes = b""
    """Its path in the outermost tree, for people."""
    depth: int = 0


def fill_submodules(
    repository: Repository, name: str, outer: Outer, files: list[TreeFile], *, copy: bool, stop: Stop
) -> list[str]:
    """Fill the submodules of a tree, and theirs.

    Args:
        repository: The main repository.
        name: The workspace's name: what is lent is noted under it.
        outer: Whose submodules.
        files: The files of its commit.
        copy: Whether objects are copied, not borrowed.
        stop: Asked now and then.

    Returns:
        What is not filled and what to do about it, one line each.

    Raises:
        GitError: When something cannot be written or an object is damaged.
    """
    links = {file.path: file.sha for file in files if file.mode == SUBMODULE}
    if not links:
        return []
    if outer.depth >= _MAX_DEPTH:
        return [f"submodules are nested deeper than {_MAX_DEPTH}: {shown(outer.prefix)}"]
    named = named_submodules(_gitmodules(outer, files), links)
    notes = [f"submodule left empty: {shown(outer.prefix)}{line}" for line in named.refused]
    for submodule in named.found:
        stop.check()
        notes += _fill(repository, name, outer, submodule, copy=copy, stop=stop)
    return notes


def _gitmodules(outer: Outer, files: list[TreeFile]) -> bytes | None:
    entry = next((file for file in files if file.path == FILE and file.mode not in {LINK, SUBMODULE}), None)
    if entry is None:
        return None
    with opened(_as_repository(outer.source, outer.tree)) as repo:
        content = stored(repo.object_store, entry.sha)
    return None if content is None or len(content) > LIMIT else content


def _as_repository(git_dir: Path, tree: Path) -> Repository:
    return Repository(root=tree, common_dir=git_dir)


def _fill(
    repository: Repository, name: str, outer: Outer, submodule: Submodule, *, copy: bool, stop: Stop
) -> list[str]:
    path = shown(outer.prefix + submodule.path)
    source = outer.source / "modules" / os.fsdecode(submodule.name)
    update = f"'git submodule update --init --recursive {path}' in {repository.root} brings it; then create the workspace again"
    why = _unusable(outer.source, submodule)
    if why is not None:
        return [f"submodule left empty: {path}: {why}; {update}"]
    module = _as_repository(source, repository.root)
    commit = submodule.sha.hex()
    with opened(module) as repo:
        found = None
        with suppress(KeyError):
            found = repo.object_store[ObjectID(commit.encode())]
        if not isinstance(found, Commit):
            return [f"submodule left empty: {path}: its commit {commit[:10]} is not in {source}; {update}"]
        files = flatten(repo.object_store, bytes.fromhex(found.tree.decode()))
        lend_module(repo, module, name, commit)
    inner = Outer(
        source,
        outer.private / "modules" / os.fsdecode(submodule.name),
        outer.tree / os.fsdecode(submodule.path),
        outer.prefix + submodule.path + b"/",
        outer.depth + 1,
    )
    try:
        _make_git_dir(module, inner, commit, copy=copy, stop=stop)
        done = check_out(module, files, inner.tree, config=read_config(module), source=None, stop=stop)
        (inner.tree / ".git").write_bytes(b"gitdir: %s\n" % os.fsencode(os.path.relpath(inner.private, inner.tree)))
        (inner.private / "index").write_bytes(format_index(done.entries))
    except OSError as error:
        raise GitError(f"the submodule {path} cannot be filled: {error.strerror}", details={"path": path}) from error
    notes = [f"{path}: {note}" for note in done.notes]
    return notes + fill_submodules(repository, name, inner, files, copy=copy, stop=stop)


def _unusable(outer: Path, submodule: Submodule) -> str | None:
    """Say why the main checkout's git directory of a submodule is none to borrow from."""
    source = outer / "modules" / os.fsdecode(submodule.name)
    with ExitStack() as closing:
        try:
            root = os.open(outer, beneath.FOLDER)
            closing.callback(os.close, root)
            closing.enter_context(beneath.folder(root, b"modules/" + submodule.name))
        except (FileNotFoundError, NotADirectoryError):
            return "it is not in the main checkout"
        except OSError:
            return f"a link stands on the way to {source}"
    if not beneath.exists(source / "HEAD") or not beneath.exists(source / "objects"):
        return "it is not in the main checkout"
    if beneath.exists(source / "objects" / "info" / "alternates"):
        return f"{source} borrows objects itself"
    config = read_config(_as_repository(source, outer))
    if config.get_boolean((b"core",), b"bare", False) or (b"extensions",) in config.sections():
        return f"{source} is of a kind that cannot be shared"
    require_plain(source)
    return None


def _make_git_dir(module: Repository, inner: Outer, commit: str, *, copy: bool, stop: Stop) -> None:
    private = inner.private
    private.mkdir(parents=True)
    for folder in ("refs/heads", "info"):
        (private / folder).mkdir(parents=True)
    if copy:
        left = copy_whole(inner.source / "objects", private / "objects", stop)
        if left:
            raise GitError(f"the objects of {inner.source} cannot be copied: {left[0]}")
    else:
        (private / "objects/info").mkdir(parents=True)
        (private / "objects/pack").mkdir()
        (private / "objects/info/alternates").write_bytes(os.fsencode(inner.source / "objects") + b"\n")
    shallow = beneath.read_regular(inner.source / "shallow", limit=LIMIT)
    if shallow is not None:
        (private / "shallow").write_bytes(shallow)
    config = clone_configuration(module.model_copy(update={"remote": _origin(module)}))
    config.set((b"core",), b"worktree", os.fsencode(os.path.relpath(inner.tree, private)))
    config.write_to_path(str(private / "config"))
    reflog.append(private, "HEAD", None, commit, "checkout: filled from the main checkout")
    (private / "HEAD").write_bytes(commit.encode() + b"\n")


def _origin(module: Repository) -> str | None:
    try:
        return os.fsdecode(read_config(module).get((b"remote", b"origin"), b"url"))
    except KeyError:
        return None


def lend_module(repo: Repo, module: Repository, name: str, commit: str) -> None:
    """Keep a commit of a submodule for a workspace, so that git's housekeeping there does not take it away."""
    ref = layout.LENT_PREFIX + name
    require_real_path(module.common_dir, ref)
    target, wanted = Ref(os.fsencode(ref)), ObjectID(commit.encode())
    before = Refs(module.common_dir).get(os.fsencode(ref))
    if before is None:
        repo.refs.add_if_new(target, wanted)
    else:
        repo.refs.set_if_equals(target, ObjectID(before), wanted)


def end_module_loans(repository: Repository, name: str) -> None:
    """Keep nothing in the submodules for a workspace any more."""
    ref = layout.LENT_PREFIX + name
    for _, git_dir in git_dirs(repository.common_dir):
        sha = Refs(git_dir).get(os.fsencode(ref))
        if sha is not None:
            with opened(_as_repository(git_dir, repository.root)) as repo:
                delete_ref(repo, os.fsencode(ref), sha)
