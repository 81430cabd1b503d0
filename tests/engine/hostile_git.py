# ruff: noqa: E501 - scripts are one line each, so that the table stays one
"""What a hostile program inside a workspace does to git, as a table.

Each script runs with ``sh -e`` inside, with ``TREE``, ``COMMON``, ``ADMIN``, ``NAME``, ``EVIL`` (a program in the tree that leaves a mark
on the host when it runs there) and ``VICTIM`` (a folder of the host's that is not mounted) in its environment.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attack:
    """One thing that is done, and what ``doctor`` says about it."""

    title: str
    script: str
    found: str | None
    """Part of a finding's message; ``None`` where nothing is out of the ordinary."""


_CONFIG = """
cat > "$1/config" <<END
[core]
	repositoryformatversion = 1
	bare = false
	fsmonitor = $EVIL
	hooksPath = $TREE/.hooks
	sshCommand = $EVIL
	pager = $EVIL
	editor = $EVIL
	askPass = $EVIL
	worktree = $VICTIM
[extensions]
	worktreeConfig = true
[filter "evil"]
	clean = $EVIL
	smudge = $EVIL
	process = $EVIL
	required = true
[diff]
	external = $EVIL
[diff "evil"]
	textconv = $EVIL
[merge "evil"]
	driver = $EVIL
[alias]
	status = !$EVIL
	worktree = !$EVIL
[credential]
	helper = !$EVIL
[remote "origin"]
	url = ext::$EVIL
	fetch = +refs/heads/*:refs/remotes/origin/*
	uploadpack = $EVIL
[gpg]
	program = $EVIL
[include]
	path = $TREE/nothing
END
"""
PREPARE = (
    """
mkdir -p "$TREE/.hooks"
cat > "$EVIL" <<END
#!/bin/sh
echo ran > $MARK
END
chmod +x "$EVIL"
for hook in post-checkout pre-commit post-commit reference-transaction pre-push post-index-change fsmonitor-watchman; do
    cp "$EVIL" "$TREE/.hooks/$hook"
done
configure() {"""
    + _CONFIG
    + """}
own_git_dir() {
    mkdir -p "$1/objects" "$1/refs/heads" "$1/hooks" "$1/info"
    cp "$TREE"/.hooks/* "$1/hooks/"
    echo 'ref: refs/heads/main' > "$1/HEAD"
    configure "$1"
    cp "$1/config" "$1/config.worktree"
    echo '* filter=evil diff=evil merge=evil' > "$1/info/attributes"
}
"""
)
"""Runs before each script."""

ATTACKS = (
    Attack("pointer to a git directory of its own", 'own_git_dir "$TREE/.own"; echo "gitdir: $TREE/.own" > "$TREE/.git"',
           ".git was changed"),
    Attack("git directory in place of the pointer", 'rm "$TREE/.git"; own_git_dir "$TREE/.git"', ".git was changed: a folder"),
    Attack("link in place of the pointer", 'own_git_dir "$TREE/.own"; rm "$TREE/.git"; ln -s "$TREE/.own" "$TREE/.git"',
           ".git was changed: a link"),
    Attack("pipe in place of the pointer", 'rm "$TREE/.git"; mkfifo "$TREE/.git"', ".git was changed"),
    Attack("no pointer", 'rm "$TREE/.git"', ".git is gone"),
    Attack("commondir of its entry", 'own_git_dir "$TREE/.own"; echo "$TREE/.own" > "$ADMIN/commondir"', "commondir was changed"),
    Attack("gitdir of its entry", 'echo "$VICTIM/secret" > "$ADMIN/gitdir"', "gitdir was changed"),
    Attack("configuration in its entry", 'configure "$ADMIN"; cp "$ADMIN/config" "$ADMIN/config.worktree"',
           "config.worktree sets alias.status"),
    Attack("configuration beside the shared one", 'configure "$TREE"; cp "$TREE/config" "$COMMON/config.worktree"',
           "config.worktree is there"),
    Attack("attributes and filters", 'echo "* filter=evil diff=evil merge=evil" > "$TREE/.gitattributes"; '
           'mkdir -p "$ADMIN/info"; cp "$TREE/.gitattributes" "$ADMIN/info/attributes"; echo more >> "$TREE/README.md"; '
           'cp -r "$TREE/.hooks" "$ADMIN/hooks"; git add -A 2>/dev/null; printf "[submodule \\"x\\"]\\n\\tpath=x\\n\\turl=ext::$EVIL\\n\\tupdate=!$EVIL\\n" > .gitmodules',
           None),
    Attack("another main", 'git -c user.name=E -c user.email=e@x commit -q --allow-empty -m evil; git rev-parse HEAD > "$COMMON/refs/heads/main"', None),
    Attack("refs that are links", 'mv "$COMMON/refs/heads/nexus" "$COMMON/refs/away"; rm -rf "$COMMON/refs/nexus"; ln -s "$VICTIM" "$COMMON/refs/heads/nexus"; '
           'ln -s "$VICTIM" "$COMMON/refs/nexus"; ln -s "$VICTIM/secret" "$COMMON/refs/heads/link"', "symbolic link"),
    Attack("logs that are links", 'rm -rf "$COMMON/logs"; ln -s "$VICTIM" "$COMMON/logs"; rm -rf "$ADMIN/logs"; ln -s "$VICTIM" "$ADMIN/logs"',
           "logs is a symbolic link"),
    Attack("object folders that are links", 'cd "$COMMON/objects"; for a in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do for b in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do '
           '[ -e $a$b ] || ln -s "$VICTIM" $a$b; done; done; mv pack old-pack; ln -s "$VICTIM" pack; echo new > "$TREE/new.txt"',
           "pack is a symbolic link"),
    Attack("objects from elsewhere", 'git init -q --bare "$TREE/.own"; echo "$TREE/.own/objects" > "$COMMON/objects/info/alternates"',
           "takes objects from a workspace"),
    Attack("pipes in the shared directory", 'for file in packed-refs objects/info/alternates shallow refs/heads/pipe FETCH_HEAD; do '
           'rm -f "$COMMON/$file"; mkfifo "$COMMON/$file"; done', "alternates is not a small regular file"),
    Attack("pipes in its entry", 'for file in HEAD index commondir gitdir ORIG_HEAD MERGE_HEAD logs/HEAD nexus-base config.worktree; do '
           'rm -f "$ADMIN/$file"; mkfifo "$ADMIN/$file"; done', "commondir was changed"),
    Attack("pipes in the tree", 'for file in README.md .gitignore .gitattributes src/.gitignore .gitmodules; do '
           'rm -f "$TREE/$file"; mkfifo "$TREE/$file"; done', None),
    Attack("HEAD that leads out", 'echo "ref: refs/heads/../../../../../../$VICTIM/secret" > "$ADMIN/HEAD"', None),
    Attack("lock removed", 'rm -f "$ADMIN/locked"', "not locked by Nexus"),
    Attack("entry emptied", 'rm -rf "$ADMIN"/*', "commondir is gone"),
    Attack("links in the tree", 'rm -rf src; ln -s "$VICTIM" src; ln -s "$VICTIM/secret" secret; rm README.md; ln -s "$VICTIM/secret" README.md',
           None),
    Attack("HEAD of the main checkout", 'rm -f "$COMMON/index"; ln -s "$VICTIM/secret" "$COMMON/index"', "index is a symbolic link"),
)  # fmt: skip
"""Attacks, each on a workspace of its own."""
