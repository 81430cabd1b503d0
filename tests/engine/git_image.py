"""Images with a real git: this machine's own, and a newer one from a later suite of this machine's Debian mirror.

The newer one is unpacked, never installed: package lists, downloads and files live in a temporary folder. Where the mirror cannot
be reached its tests are skipped with the reason, or fail when ``NEXUS_REQUIRE`` names ``docker-git-new``.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from nexus.testing.images import rootfs
from tests.engine.made_once import made_once
from tests.engine.raw import RawEngine
from tests.requiring import do_without

NEW_SUITE = "trixie"
_PACKAGES = ("git", "libc6", "libpcre2-8-0", "zlib1g")
_MORE_PROGRAMS = (
    "sed",
    "grep",
    "sort",
    "uniq",
    "uname",
    "dirname",
    "basename",
    "expr",
    "mktemp",
    "find",
    "cut",
    "date",
)
_LEFT_OUT = re.compile(
    r"git-(remote-.*|http-.*|imap-send|daemon|shell|svn|p4|send-email|cvs.*|archimport|instaweb)|scalar"
)
"""Programs of git's that nothing here runs and that need more libraries."""


@dataclass(frozen=True)
class GitImage:
    """An image, and the version of git in it."""

    name: str
    version: str
    """As ``git --version`` tells it: ``2.39.5``."""


@pytest.fixture(scope="session")
def git_image(engine: str, tmp_path_factory: pytest.TempPathFactory) -> GitImage:
    """This machine's git in a small image."""

    def make(_: Path) -> str:
        files, links, version = own_git()
        import_image(engine, "nexus-test-git", files, links)
        return version

    return GitImage("nexus-test-git:latest", made_once(tmp_path_factory, "git", make))


def own_git() -> tuple[dict[str, bytes], dict[str, str], str]:
    """Return this machine's git as files and links of an image, and its version."""
    git = shutil.which("git")
    assert git is not None, "the tests need git"
    execs = Path(subprocess.run([git, "--exec-path"], check=True, capture_output=True, text=True).stdout.strip())
    files, links = exec_path(execs)
    files["usr/bin/git"] = Path(git).read_bytes()
    files |= libraries_of(git)
    version = subprocess.run([git, "--version"], check=True, capture_output=True, text=True).stdout.split()[2]
    return files, links, version


@pytest.fixture(scope="session")
def new_git_image(engine: str, tmp_path_factory: pytest.TempPathFactory) -> GitImage:
    """A newer git, with the C library it was built for."""

    def make(folder: Path) -> str:
        unpacked = _unpack(folder)
        files, links = exec_path(unpacked / "usr/lib/git-core")
        files["usr/bin/git"] = (unpacked / "usr/bin/git").read_bytes()
        for library in (unpacked / "usr").glob("lib*/**/*.so*"):
            if library.is_file() and "gconv" not in library.parts:
                files[str(library.relative_to(unpacked / "usr"))] = library.read_bytes()
        package = next(unpacked.glob("../git_*.deb")).name
        found = re.search(r"[0-9]+\.[0-9]+\.[0-9]+", package)
        assert found is not None, package
        import_image(engine, "nexus-test-git-new", files, links)
        return found[0]

    return GitImage("nexus-test-git-new:latest", made_once(tmp_path_factory, "git-new", make))


def import_image(engine: str, name: str, files: dict[str, bytes], links: dict[str, str]) -> None:
    """Make an image of the tiny one with more files in it."""
    RawEngine(engine).import_image(_extended(rootfs(), files, links), f"{name}:latest")


def _extended(archive: bytes, files: dict[str, bytes], links: dict[str, str]) -> bytes:
    """Return a root file system with more in it; where busybox does not give them, with the programs that scripts use."""
    buffer = io.BytesIO(archive)
    with tarfile.open(fileobj=buffer, mode="r") as there:
        names = set(there.getnames())
    more: dict[str, bytes] = {}
    for program in _MORE_PROGRAMS:
        found = shutil.which(program)
        if f"bin/{program}" not in names and found is not None:
            more |= {f"bin/{program}": Path(found).read_bytes(), **libraries_of(found)}
    buffer.seek(0)
    with tarfile.open(fileobj=buffer, mode="a") as made:
        for path, content in {**more, **files}.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o755
            made.addfile(entry, io.BytesIO(content))
        for path, target in links.items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            made.addfile(entry)
    return buffer.getvalue()


def libraries_of(program: str) -> dict[str, bytes]:
    """Return the libraries that a program of this machine needs, by their paths in an image."""
    needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return {path.lstrip("/"): Path(path).resolve().read_bytes() for path in re.findall(r"(/[^\s:]+)", needed)}


def exec_path(folder: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return git's own programs as files and links; those in Perl and Python are left out, nothing here interprets them."""
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    files["usr/share/git-core/templates/description"] = b"Unnamed repository.\n"  # no folder of templates: a warning
    for path in folder.rglob("*"):
        inside = f"usr/lib/git-core/{path.relative_to(folder)}"
        if _LEFT_OUT.fullmatch(path.name) or path.is_dir():
            continue
        if path.is_symlink():
            links[inside] = str(path.readlink())
        elif not path.read_bytes()[:32].startswith((b"#!/usr/bin/perl", b"#!/usr/bin/python")):
            files[inside] = path.read_bytes()
    # Git looks for its programs where it was built to; an image of another layout would have them elsewhere.
    if not str(folder).endswith("usr/lib/git-core"):
        links[str(folder).lstrip("/")] = "/usr/lib/git-core"
    return files, links


def _unpack(folder: Path) -> Path:
    mirror = _mirror()
    if mirror is None or shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        do_without("docker-git-new", "this machine has no Debian mirror that apt-get can ask")
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    source = folder / "sources.list"
    source.write_text(f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {NEW_SUITE} main\n")
    settings = {
        "Dir::Etc::SourceList": source,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::http::Timeout": 20,
        "Acquire::Retries": 0,
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    for command in (["update", "--error-on=any"], ["download", *_PACKAGES]):
        try:
            subprocess.run(
                ["apt-get", *options, "-qq", *command], cwd=folder, check=True, capture_output=True, timeout=120
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            # What it says is left out: it names the mirror, which may be somebody's own.
            do_without(
                "docker-git-new", f"'apt-get {command[0]}' cannot reach suite {NEW_SUITE} of this machine's mirror"
            )
    root = folder / "root"
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True, capture_output=True)
    return root


def _mirror() -> str | None:
    """Return the address of the main archive that this machine's apt uses."""
    places = (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.list")))
    for place in places:
        for line in place.read_text().splitlines() if place.is_file() else ():
            one_line = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+/debian/?)\s+\S+\s+.*\bmain\b", line)
            if one_line is not None:
                return one_line[1]
    for place in sorted(Path("/etc/apt/sources.list.d").glob("*.sources")):
        for stanza in place.read_text().split("\n\n"):
            address = re.search(r"^URIs:\s*(\S+/debian/?)(?:\s|$)", stanza, re.MULTILINE)
            if address is not None and re.search(r"^Components:.*\bmain\b", stanza, re.MULTILINE):
                return address[1]
    return None
