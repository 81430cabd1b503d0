"""Line ends as git converts them; git itself says what is right."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nexus.git.eol import Conversion, Eol, EolSettings, clean, conversion_for, looks_binary, smudge
from tests.git.oracle import REASON, Git

CONTENTS = {
    "lf": b"one\ntwo\n",
    "crlf": b"one\r\ntwo\r\n",
    "mixed": b"one\r\ntwo\nthree\r\n",
    "cr": b"one\rtwo\r",
    "lone": b"one\r\ntwo\rthree\n",
    "none": b"one",
    "empty": b"",
    "nul": b"one\n\0two\n",
    "control": b"\x01\x02\x03\x04" + b"a" * 10 + b"\n",
    "eof": b"text\n\x1a",
    "high": "grüße\nü\n".encode(),
    "latin": b"gr\xfc\xdfe\n" * 3,
    "ident": b"$Id$\n$Id: old $\nkeep $Ident$\n",
}
ATTRIBUTES = [
    "", "text", "-text", "text=auto", "text eol=crlf", "text eol=lf", "eol=crlf", "eol=lf", "text=auto eol=crlf", "text=auto eol=lf",
    "binary", "crlf", "-crlf", "crlf=input", "ident", "ident text eol=crlf", "!text eol=crlf", "-text eol=crlf", "text=input",
]  # fmt: skip
CONFIGS = [
    {},
    {"core.autocrlf": "true"},
    {"core.autocrlf": "input"},
    {"core.eol": "crlf"},
    {"core.eol": "crlf", "core.autocrlf": "input"},
]


@pytest.mark.parametrize(
    "config", CONFIGS, ids=lambda config: ",".join(f"{k}={v}" for k, v in config.items()) or "plain"
)
async def test_every_attribute_and_setting_does_what_git_does(git: Git, tmp_path: Path, config: dict[str, str]) -> None:
    lines: list[str] = []
    for (number, attribute), (name, content) in itertools.product(enumerate(ATTRIBUTES), CONTENTS.items()):
        git.write(f"a{number}/{name}", content)
        lines.append(f"a{number}/{name} {attribute}" if attribute else "")
    git.commit("raw, before any attribute applies")
    git.write(".gitattributes", "\n".join(line for line in lines if line) + "\n")
    git.run("add", ".gitattributes")
    git.run("commit", "-q", "-m", "attributes")
    for key, value in config.items():
        git.run("config", key, value)
    git.run("worktree", "add", "-q", "--detach", str(tmp_path / "theirs"))
    (git.root / ".git" / "index").rename(tmp_path / "index")
    made = await (await git.worktrees()).create("one", reason=REASON)
    different = [
        f"{ATTRIBUTES[number]!r} {name}: {ours!r} instead of {theirs!r}"
        for number, name in itertools.product(range(len(ATTRIBUTES)), CONTENTS)
        if (ours := (made.path / f"a{number}" / name).read_bytes())
        != (theirs := (tmp_path / "theirs" / f"a{number}" / name).read_bytes())
    ]
    assert different == []
    assert git.status(made.path) == ""


@pytest.mark.parametrize(
    "config", CONFIGS, ids=lambda config: ",".join(f"{k}={v}" for k, v in config.items()) or "plain"
)
async def test_what_git_would_store_is_what_we_compare(git: Git, tmp_path: Path, config: dict[str, str]) -> None:
    """Files that are new to git's eyes: ``hash-object`` says what each would be stored as."""
    for key, value in config.items():
        git.run("config", key, value)
    for (number, attribute), (name, content) in itertools.product(enumerate(ATTRIBUTES), CONTENTS.items()):
        how = conversion_for(parsed(attribute), settings(config))
        git.write(".git/info/attributes", f"{name}.txt {attribute}\n" if attribute else "")
        theirs = git.run(
            "-c", "core.safecrlf=false", "hash-object", "--path", f"{name}.txt", "--stdin", stdin=content
        ).strip()
        from nexus.git.objects import blob_id

        assert blob_id(clean(content, how, lambda: None)).hex() == theirs, (attribute, name, number)


def parsed(text: str) -> dict[bytes, bytes | bool]:
    found: dict[bytes, bytes | bool] = {}
    for word in text.encode().split():
        if word == b"binary":
            found[b"text"] = False
        elif word.startswith(b"-"):
            found[word[1:]] = False
        elif not word.startswith(b"!"):
            name, equals, value = word.partition(b"=")
            found[name] = value if equals else True
    return found


def settings(config: dict[str, str]) -> EolSettings:
    from dulwich.config import ConfigDict

    made = ConfigDict()
    for key, value in config.items():
        section, _, name = key.partition(".")
        made.set((section.encode(),), name.encode(), value.encode())
    return EolSettings.read(made)


TEXT = st.lists(st.sampled_from([b"a", b"b c", b"\n", b"\r\n", b"$Id$"]), max_size=30).map(b"".join)


@given(TEXT)
def test_lf_text_comes_back_as_it_was(text: bytes) -> None:
    content = text.replace(b"\r\n", b"\n")
    for how in (Conversion(Eol.CRLF), Conversion(Eol.CRLF, auto=True), Conversion(Eol.INPUT), Conversion(ident=True)):
        assert clean(smudge(content, how, bytes(20)), how, lambda: content) == content


@given(st.binary(max_size=400))
def test_auto_never_touches_what_looks_binary(content: bytes) -> None:
    how = Conversion(Eol.CRLF, auto=True)
    assume(looks_binary(content))
    assert smudge(content, how, bytes(20)) == content == clean(content, how, lambda: None)


async def test_attribute_files_rank_as_in_git(git: Git, tmp_path: Path) -> None:
    git.write(
        ".gitattributes",
        '[attr]windows text eol=crlf\n*.w windows\n"with space.t" eol=crlf\nsub/*.x eol=crlf\ndeep/** text eol=crlf\n',
    )
    git.write("sub/.gitattributes", "*.w -text\n*.y eol=crlf\n/top.z eol=crlf\n[attr]late text eol=crlf\n*.l late\n")
    git.write(".git/info/attributes", "info.* eol=crlf\nsub/loud.y -text\n")
    git.write("../home/.config/git/attributes", "*.user eol=crlf\n*.w eol=lf\n")
    names = [
        "a.w", "sub/a.w", "sub/a.x", "sub/b/a.x", "sub/a.y", "sub/deep/a.y", "sub/loud.y", "sub/top.z", "sub/in/top.z", "info.c",
        "x/info.c", "a.user", "with space.t", "deep/er/file", "sub/a.l", "plain",
    ]  # fmt: skip
    for name in names:
        git.write(name, "one\ntwo\n")
    git.commit("attributes")
    git.run("worktree", "add", "-q", "--detach", str(tmp_path / "theirs"))
    (git.root / ".git" / "index").rename(tmp_path / "index")
    made = await (await git.worktrees()).create("one", reason=REASON)
    ours = {name: (made.path / name).read_bytes() for name in names}
    assert ours == {name: (tmp_path / "theirs" / name).read_bytes() for name in names}


async def test_autocrlf_true_from_a_converted_main_checkout(git: Git) -> None:
    git.run("config", "core.autocrlf", "true")
    git.write("text.txt", "one\r\ntwo\r\n")
    git.commit("text")
    git.settle()
    worktrees = await git.worktrees()
    made = await worktrees.create("one", reason=REASON)
    assert (made.path / "text.txt").read_bytes() == b"one\r\ntwo\r\n"
    assert git.run("cat-file", "blob", "HEAD:text.txt") == "one\ntwo\n"
    assert git.status(made.path) == ""
    (made.path / "text.txt").touch()
    assert (await worktrees.report("one")).clean, "read again, it is still the same"


async def test_an_encoding_is_left_as_stored_and_said(git: Git) -> None:
    git.write(".gitattributes", "*.txt working-tree-encoding=UTF-16\n")
    git.write("a.txt", "hello\n".encode("utf-16"))
    git.commit("encoded")
    (git.root / "a.txt").unlink()
    made = await (await git.worktrees()).create("one", reason=REASON)
    assert (made.path / "a.txt").read_bytes() == b"hello\n"
    assert "UTF-16" in made.notes[0]
