"""What people do with git all day, as one table, and what a workspace refuses, as another.

Each script runs with ``sh -e`` at the root of a worktree on branch ``nexus/a``, after the ones before it. Names, dates and e-mail are
fixed, so that two runs make the same commits, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass

ENVIRONMENT = {
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
    "GIT_EDITOR": "true",
    "GIT_MERGE_AUTOEDIT": "no",
    "LC_ALL": "C",
}


@dataclass(frozen=True)
class Step:
    """One thing that somebody does."""

    title: str
    script: str
    code: int = 0
    complains: str | None = None
    """What git says inside and not outside, though it does the work: it cannot drop settings that it did not find either."""


_LINE = "printf 'line %s\\n' "

EVERYDAY = (
    Step("status, clean", "git status --porcelain | grep . && exit 9; git status -sb"),
    Step("status, with changes", f"{_LINE} one > notes.txt; echo more >> README.md; git status --porcelain"),
    Step("add", "git add -A; git diff --cached --stat"),
    Step("diff", "echo yet more >> README.md; git diff; git diff HEAD; git diff --quiet && exit 9; git add README.md"),
    Step("commit", "git commit -m 'Notes'; git show --stat HEAD"),
    Step("commit --amend", "echo amended >> notes.txt; git commit -a --amend -m 'Notes, amended'"),
    Step("log", "git log --oneline --graph --decorate -n 5; git log -p -1; git shortlog -s HEAD; git reflog -n 2"),
    Step("branch create", "git branch topic; git switch topic; git branch --list"),
    Step("work on it", "echo topic > topic.txt; git add .; git commit -m 'Topic'; git switch nexus/a"),
    Step("checkout a file", "echo oops > README.md; git checkout -- README.md; git restore --source=HEAD~1 notes.txt || :; "
         "git restore --staged --worktree --source=HEAD README.md; git checkout HEAD -- ."),
    Step("merge, fast-forward", "git merge --ff-only topic"),
    Step("merge --no-ff", "git switch -c side HEAD~1; echo side > side.txt; git add .; git commit -m 'Side'; git switch nexus/a; "
         "git merge --no-ff -m 'Merge side' side"),
    Step("a branch that conflicts", "git switch -c other HEAD~1; echo theirs > topic.txt; git commit -am 'Theirs'; "
         "git switch nexus/a; echo ours > topic.txt; git commit -am 'Ours'"),
    Step("merge with a conflict", "git merge other", 1),
    Step("merge --abort", "git status --porcelain; git merge --abort; git diff --quiet"),
    Step("merge with a conflict, again", "git merge other", 1),
    Step("conflict resolved", "echo both > topic.txt; git add topic.txt; git commit -m 'Merge other'"),
    Step("rebase", "git switch -c feature HEAD~2; echo f > feature.txt; git add .; git commit -m 'Feature'; "
         "echo g >> feature.txt; git commit -am 'Feature, more'; git rebase nexus/a"),
    Step("rebase with a conflict", "git switch -c clash nexus/a~1; echo clash > topic.txt; git commit -am 'Clash'; "
         "git rebase nexus/a", 1),
    Step("rebase --abort", "git rebase --abort; git status --porcelain"),
    Step("rebase with a conflict, again", "git rebase nexus/a", 1),
    Step("rebase --continue", "echo settled > topic.txt; git add topic.txt; git rebase --continue"),
    Step("rebase --interactive", "git switch feature; GIT_SEQUENCE_EDITOR='sed -i -e 2s/^pick/squash/' git rebase -i nexus/a; "
         "git log --oneline -n 3"),
    Step("rebase --autostash", "echo dirty >> README.md; git rebase --autostash nexus/a; git checkout -- README.md"),
    Step("cherry-pick", "git switch nexus/a; git cherry-pick feature; git cherry-pick -x clash"),
    Step("cherry-pick with a conflict", "git cherry-pick other", 1),
    Step("cherry-pick --abort", "git cherry-pick --abort; git status --porcelain"),
    Step("revert", "git revert --no-edit HEAD"),
    Step("stash push", "echo stashed >> README.md; echo new > untracked.txt; git stash push -u -m 'Later'; git stash list; "
         "git status --porcelain"),
    Step("stash pop", "git stash pop; git status --porcelain; git checkout -- README.md; rm untracked.txt"),
    Step("stash drop", "echo again >> README.md; git stash; git stash apply; git checkout -- .; git stash drop"),
    Step("reset --soft", "git reset --soft HEAD~1; git commit -m 'Soft'"),
    Step("reset, mixed", "echo m >> README.md; git add README.md; git reset -q; git diff --quiet && exit 9; git checkout -- ."),
    Step("reset --hard", "echo h >> README.md; git reset --hard HEAD~1; git reset --hard ORIG_HEAD; git status --porcelain"),
    Step("tags", "git tag light; git tag -a -m 'Annotated' v1.0; git tag --list; git describe; git tag -d light"),
    Step("blame", "git blame notes.txt; git log --follow --oneline notes.txt; git grep -n line"),
    Step("mv, rm, clean", "git mv notes.txt moved.txt; git rm -q side.txt; git commit -m 'Moved'; touch junk; git clean -fd; "
         "git status --porcelain"),
    Step("bisect run", "git bisect start HEAD $(git rev-list --max-parents=0 HEAD); git bisect run sh -c 'test ! -e feature.txt'; "
         "git bisect reset; git status --porcelain"),
    Step("branch delete", "git branch -d side; git branch -D clash; git branch --list",
         complains="could not write config file"),
    Step("sparse index files", "git update-index --assume-unchanged README.md; git update-index --no-assume-unchanged README.md"),
    Step("worktree list", "git worktree list"),
    Step("archive and bundle", "git archive HEAD | tar t; git bundle create ../a/work.bundle HEAD && git bundle verify work.bundle; "
         "rm work.bundle"),
    Step("push", "git init -q --bare -b main remote.git; git push origin HEAD:main; git push --tags origin; git ls-remote origin"),
    Step("fetch", "git fetch origin; git log --oneline -n 1 origin/main; git branch -r"),
    Step("somebody else pushes", "git clone -q remote.git remote.git/clone; cd remote.git/clone; echo theirs > pulled.txt; git add .; "
         "git commit -m 'Pulled'; git push -q origin HEAD:main"),
    Step("pull --rebase", "echo mine > mine.txt; git add .; git commit -m 'Mine'; git pull --rebase origin main; "
         "git log --oneline -n 3"),
    Step("pull --ff-only", "git pull --ff-only origin main"),
    Step("push --force-with-lease", "git commit --amend -m 'Mine, better'; git push origin HEAD:refs/heads/mine; "
         "git commit --amend -m 'Mine, best'; git push --force-with-lease=mine origin HEAD:refs/heads/mine"),
    Step("push --delete, fetch --prune", "git push origin --delete mine; git fetch --prune origin; git branch -r"),
    Step("detached HEAD and back", "git switch --detach HEAD~1; git switch nexus/a"),
    Step("notes", "git notes add -m 'A note' HEAD; git notes show HEAD"),
    Step("fsck", "git fsck --no-dangling"),
)  # fmt: skip
"""Everyday git: the same inside and outside, exit codes, output and all."""


@dataclass(frozen=True)
class Refusal:
    """One thing that a workspace does not let git do, or not wholly."""

    title: str
    script: str
    code: int
    says: str
    """Part of what git says about it."""


REFUSED = (
    Refusal("config", "git config core.fsmonitor /bin/evil", 4, "could not write config file"),
    Refusal("config, by hand", "echo '[core]' >> $COMMON/config", 1, "Read-only file system"),
    Refusal("config, renamed", "mv $COMMON/config $COMMON/config.old", 1, "busy"),
    Refusal("remote add", "git remote add evil /tmp/evil", 128, "could not write config file"),
    Refusal(
        "push -u", "git init -q --bare remote.git; git push -q -u origin HEAD:up", 0, "could not write config file"
    ),
    Refusal(
        "branch -m", "git branch renamed HEAD; git branch -m renamed renamed-2", 128, "could not write config file"
    ),
    Refusal("a hook", "echo evil > $COMMON/hooks/post-checkout", 1, "Read-only file system"),
    Refusal("hooks, renamed", "mv $COMMON/hooks $COMMON/old-hooks", 1, "busy"),
    Refusal("info/attributes", "echo '* filter=evil' > $COMMON/info/attributes", 1, "Read-only file system"),
    Refusal("info/exclude", "echo '*' >> $COMMON/info/exclude", 1, "Read-only file system"),
    Refusal("commondir", "echo /tmp > $COMMON/commondir", 1, "Read-only file system"),
    Refusal("commondir, replaced", "rm $COMMON/commondir", 1, "busy"),
    Refusal("an old-style remote", "echo 'URL: /tmp' > $COMMON/remotes/evil", 1, "Read-only file system"),
    Refusal("worktree add", "git worktree add ../evil", 128, "Read-only file system"),
    Refusal("worktree add, elsewhere", "git worktree add /tmp/evil", 128, "Read-only file system"),
    Refusal("worktree remove", "git worktree remove -f $SIBLING", 128, "locked"),
    Refusal("worktree remove, forced", "git worktree remove -f -f $SIBLING", 255, "Read-only file system"),
    Refusal("worktree unlock", "git worktree unlock $SIBLING", 255, "Read-only file system"),
    Refusal("worktree lock", "rm $COMMON/worktrees/nexus@b/locked", 1, "Read-only file system"),
    Refusal("a sibling's HEAD", "echo evil > $COMMON/worktrees/nexus@b/HEAD", 1, "Read-only file system"),
    Refusal("a submodule's git directory", "mkdir $COMMON/modules/evil", 1, "Read-only file system"),
    Refusal("gc", "git gc", 128, "Read-only file system"),
)
"""What is refused, by what exit code, and part of what is said."""

HARMLESS = (
    "git worktree prune -v",
    "git worktree prune --expire=now -v",
    "git worktree repair",
    "git gc --prune=now",
    "git prune --expire=now",
    "git repack -a -d",
    "git pack-refs --all",
    "git maintenance run --task=loose-objects --task=incremental-repack",
    "git reflog expire --expire=now --all",
    "git init",
)
"""What must do no harm to siblings or to the main checkout, whatever it answers."""
