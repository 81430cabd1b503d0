"""Images under the names that a usual project file gives: ``node:20-alpine``, ``postgres:16-alpine``, ``redis:7-alpine``.

They hold the real programs: this machine's Node.js, npm and bash, and the servers of ``service_image``; they start as those that are
published under these names do. An engine that has other images of these names keeps them: the tests are skipped with the reason,
or fail when ``NEXUS_REQUIRE`` names ``docker-seed``.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import pytest

from nexus.testing.images import rootfs
from tests.engine.made_once import made_once
from tests.engine.raw import RawEngine
from tests.requiring import do_without

_LABEL: Final = "dev.nexus.test.seed"
_SERVERS: Final = {
    "postgres:16-alpine": (
        """\
#!/bin/sh
# As root only to give the data to the server's user.
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" && chown -R postgres "$PGDATA" && chmod 700 "$PGDATA"
  exec su -s /bin/sh postgres -c 'exec "$0" "$@"' "$0" "$@"
fi
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --auth=trust --no-sync --username=postgres --no-instructions >/dev/null
  echo "host all all all trust" >>"$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE ${POSTGRES_DB:-postgres}" | postgres --single -j postgres >/dev/null
fi
exec "$@" -c listen_addresses='*' -c unix_socket_directories=/tmp -c fsync=off
""",
        'ENV PGDATA=/var/lib/postgresql/data\nVOLUME /var/lib/postgresql/data\nSTOPSIGNAL SIGINT\nCMD ["postgres"]\n',
    ),
    "redis:7-alpine": (
        """\
#!/bin/sh
if [ "$(id -u)" = 0 ]; then
  chown redis . && exec su -s /bin/sh redis -c 'exec "$0" "$@"' "$0" "$@"
fi
exec "$@" --protected-mode no
""",
        'VOLUME /data\nWORKDIR /data\nEXPOSE 6379\nCMD ["redis-server"]\n',
    ),
}


@pytest.fixture(scope="session")
def seed_images(engine: str, service_image: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The names of the three images."""
    return tuple(made_once(tmp_path_factory, "seed", lambda _: _make(RawEngine(engine), service_image)).split())


def _make(raw: RawEngine, service_image: str) -> str:
    made = {"node:20-alpine": _node(raw)}
    for name, (entrypoint, lines) in _SERVERS.items():
        mark = hashlib.sha256(f"{service_image}{entrypoint}{lines}".encode()).hexdigest()[:16]
        made[name] = f"nexus-test-seed-{name.partition(':')[0]}:{mark}"
        if not raw.has_image(made[name]):
            raw.build_image(_context(service_image, entrypoint, f"LABEL {_LABEL}={mark}\n{lines}"), made[name])
    for name, own in made.items():
        if raw.has_image(name):
            found = raw.get(f"/images/{name}/json")
            if _LABEL not in (found["Config"].get("Labels") or {}):
                do_without("docker-seed", f"the engine has an image {name} of somebody else's")
        repository, _, tag = name.partition(":")
        status, answer = raw.call("POST", f"/images/{own}/tag?{urlencode({'repo': repository, 'tag': tag})}")
        assert status == 201, answer
    return " ".join(made)


def _node(raw: RawEngine) -> str:
    """Have an image with Node.js, npm and bash; return a name of it that its content decides."""
    programs = {name: shutil.which(name) for name in ("node", "npm", "bash", "ldd")}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        do_without("docker-seed", f"this machine has no {missing[0]}")
    versions = "".join(_run([name, "--version"]) for name in ("node", "npm", "bash"))
    mark = hashlib.sha256((versions + Path(__file__).read_text()).encode()).hexdigest()[:16]
    name = f"nexus-test-seed-node:{mark}"
    if raw.has_image(name):
        return name
    changes = [f"LABEL {_LABEL}={mark}", 'CMD ["node"]']
    query = urlencode(
        [("fromSrc", "-"), ("repo", "nexus-test-seed-node"), ("tag", mark), *(("changes", one) for one in changes)]
    )
    node, npm, bash = (Path(programs[each] or "").resolve() for each in ("node", "npm", "bash"))
    status, answer = raw.call("POST", f"/images/create?{query}", data=_node_archive(node, npm, bash), timeout=300.0)
    assert status == 200, answer
    return name


def _node_archive(node: Path, npm: Path, bash: Path) -> bytes:
    package = npm.parents[1]  # …/npm/bin/npm-cli.js
    files = {"usr/local/bin/node": node, "bin/bash": bash}
    for program in (node, bash):
        # The loader's own line has no arrow; libraries are where it looks for them, whatever folders are links here.
        for library in re.findall(r"(/\S+) \(0x", _run(["ldd", str(program)])):
            files[library.lstrip("/").removeprefix("usr/")] = Path(library)
    files |= {
        f"usr/local/lib/node_modules/npm/{path.relative_to(package)}": path
        for path in sorted(package.rglob("*"))
        if path.is_file()
    }
    links = {
        "usr/local/bin/npm": f"../lib/node_modules/npm/{npm.relative_to(package)}",
        "usr/bin/env": "/bin/env",
    }
    base, buffer = rootfs(), io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(base)) as before, tarfile.open(fileobj=buffer, mode="w") as made:
        for entry in before:
            if entry.name not in files:
                made.addfile(entry, before.extractfile(entry) if entry.isreg() else None)
        for name, path in files.items():
            content = path.resolve().read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            made.addfile(entry, io.BytesIO(content))
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            made.addfile(entry)
    return buffer.getvalue()


def _context(base: str, entrypoint: str, lines: str) -> bytes:
    """Return what the engine builds a server's image from."""
    dockerfile = f'FROM {base}\nCOPY start /usr/local/bin/docker-entrypoint.sh\nENTRYPOINT ["docker-entrypoint.sh"]\n'
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in {"Dockerfile": dockerfile + lines, "start": entrypoint}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o755
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
