"""One image with a real PostgreSQL, a real Redis and their clients, unpacked from this machine's Debian packages.

Nothing is installed: packages are downloaded into a temporary folder. Where the mirror cannot be reached its tests are skipped with
the reason, or fail when ``NEXUS_REQUIRE`` names ``docker-services``.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
from functools import partial
from pathlib import Path

import pytest

from nexus.testing.images import rootfs
from tests.engine.made_once import made_once
from tests.engine.raw import RawEngine
from tests.requiring import do_without

SERVICE_IMAGE = "nexus-test-services"
_PROGRAMS = {
    "usr/lib/postgresql/*/bin": ("postgres", "initdb", "psql", "pg_isready"),
    "usr/bin": ("redis-server", "redis-cli", "redis-check-rdb"),
}
_USERS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\npostgres:x:70:70:postgres:/:/bin/sh\nredis:x:71:71:redis:/:/bin/sh\n",
    "etc/group": "root:x:0:\npostgres:x:70:\nredis:x:71:\n",
}
_POSTGRES = """\
#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # As little as a cluster can be: tests copy it often.
  initdb --auth=trust --no-sync --wal-segsize=1 --username="$(id -un)" --no-instructions >/dev/null
  postgres --single template1 >/dev/null <<END
ALTER DATABASE postgres RENAME TO $POSTGRES_DB
UPDATE pg_database SET datistemplate = false WHERE datname = 'template0'
DROP DATABASE template0
END
fi
exec postgres -c listen_addresses=127.0.0.1 -c unix_socket_directories=/tmp -c fsync=off
"""


@pytest.fixture(scope="session")
def service_image(engine: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image's name. ``start-postgres`` makes a database cluster where there is none and becomes the server."""
    return made_once(tmp_path_factory, "services", partial(_make, RawEngine(engine)))


def _make(raw: RawEngine, folder: Path) -> str:
    if any(shutil.which(program) is None for program in ("apt-get", "apt-cache", "dpkg-deb", "ldd")):
        do_without("docker-services", "this machine has no Debian packages to ask for")
    server = re.search(r"Depends: (postgresql-[0-9]+)", _run(["apt-cache", "depends", "postgresql"], folder))
    if server is None:
        do_without("docker-services", "this machine's package lists have no postgresql")
    wanted = [server[1], server[1].replace("-", "-client-"), "redis-server", "redis-tools"]
    versions = _run(["apt-cache", "policy", *wanted], folder) + Path(__file__).read_text()
    name = f"{SERVICE_IMAGE}:{hashlib.sha256(versions.encode()).hexdigest()[:16]}"
    if not raw.has_image(name):
        raw.import_image(_archive(_unpacked(wanted, folder)), name)
    return name


def _unpacked(wanted: list[str], folder: Path) -> Path:
    root = _download(wanted, folder)
    for _ in range(4):  # what a library needs shows when it is there
        missing = set(re.findall(r"(\S+)\.so\.(\S+) => not found", _libraries(root)))
        if not missing:
            break
        # Debian names the package of libfoo.so.1 libfoo1, and that of libfoo-2.5.so.0 libfoo-2.5-0.
        _download(
            sorted(f"{name}{'-' if name[-1].isdigit() else ''}{number}".lower() for name, number in missing), folder
        )
    return root


def _download(packages: list[str], folder: Path) -> Path:
    _run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *packages], folder)
    for package in sorted(folder.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(folder / "root")], folder)
    return folder / "root"


def _programs(root: Path) -> list[Path]:
    found = [next(root.glob(f"{place}/{name}")) for place, names in _PROGRAMS.items() for name in names]
    return [*found, *sorted(root.glob("usr/lib/postgresql/*/lib/*.so"))]


def _libraries(root: Path) -> str:
    """Return what the loader says of the programs: this machine's libraries, or those that were downloaded."""
    places = ":".join(
        str(root / place) for place in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu")
    )
    programs = [str(program) for program in _programs(root) if "llvmjit" not in program.name]
    done = subprocess.run(
        ["ldd", *programs], capture_output=True, text=True, check=False, env={**os.environ, "LD_LIBRARY_PATH": places}
    )
    return "\n".join(line for line in done.stdout.splitlines() if not line.endswith(":"))


def _run(command: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        # What it says is left out: it names the mirror, which may be somebody's own.
        do_without("docker-services", f"'{' '.join(command[:2])}' fails on this machine")
    return done.stdout


def _archive(root: Path) -> bytes:
    programs = [program for program in _programs(root) if "llvmjit" not in program.name]
    files = {str(program.relative_to(root)): program for program in programs}
    links = {
        f"usr/local/bin/{program.name}": f"/{program.relative_to(root)}"
        for program in programs
        if program.suffix != ".so"
    }
    home = next((root / "usr/lib/postgresql").iterdir())
    for place in (f"usr/share/postgresql/{home.name}", "usr/share/postgresql-common"):
        files |= {str(path.relative_to(root)): path for path in sorted((root / place).rglob("*")) if path.is_file()}
    for library in re.findall(r"(/\S+) \(0x", _libraries(root)):
        path = Path(library)
        files[str(path.relative_to(root) if path.is_relative_to(root) else path).lstrip("/").removeprefix("usr/")] = (
            path
        )
    zone = Path("/usr/share/zoneinfo/Etc/UTC")
    files |= {"usr/share/zoneinfo/Etc/UTC": zone} if zone.is_file() else {}
    texts = {**_USERS, "usr/local/bin/start-postgres": _POSTGRES}
    return _with(rootfs(), files, texts, links, {"var/lib/postgresql/data": 70, "var/lib/redis": 71})


def _with(
    archive: bytes, files: dict[str, Path], texts: dict[str, str], links: dict[str, str], folders: dict[str, int]
) -> bytes:
    buffer = io.BytesIO()
    contents = {
        **{name: path.resolve().read_bytes() for name, path in files.items()},
        **{k: v.encode() for k, v in texts.items()},
    }
    with tarfile.open(fileobj=io.BytesIO(archive)) as before, tarfile.open(fileobj=buffer, mode="w") as made:
        for entry in before:
            if entry.name not in contents:
                made.addfile(entry, before.extractfile(entry) if entry.isreg() else None)
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644 if name.startswith("etc/") else 0o755
            made.addfile(entry, io.BytesIO(content))
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            made.addfile(entry)
        for name, owner in folders.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o700, owner, owner
            made.addfile(entry)
    return buffer.getvalue()
