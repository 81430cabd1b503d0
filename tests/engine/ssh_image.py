"""An image with git and both ends of SSH: this machine's client, and the server of its Debian mirror where it is not installed.

The server's package is unpacked into a temporary folder, never installed. Where the mirror cannot be reached its tests are skipped
with the reason, or fail when ``NEXUS_REQUIRE`` names ``docker-ssh``.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.engine.git_image import GitImage, import_image, libraries_of, own_git
from tests.engine.made_once import made_once
from tests.requiring import do_without


@pytest.fixture(scope="session")
def ssh_image(engine: str, tmp_path_factory: pytest.TempPathFactory) -> GitImage:
    """Git, ``ssh``, ``ssh-add`` and ``sshd`` in a small image."""

    def make(folder: Path) -> str:
        files, links, version = own_git()
        for name in ("ssh", "ssh-add", "ssh-keygen"):
            program = shutil.which(name)
            if program is None:
                do_without("docker-ssh", f"this machine has no {name}")
            files |= {f"usr/bin/{name}": Path(program).read_bytes(), **libraries_of(program)}
        # The hosts' names of a server are looked up by libraries that no program is linked with.
        for library in Path("/lib").glob("*-linux-gnu/libnss_files.so.2"):
            files[str(library).lstrip("/")] = library.resolve().read_bytes()
        # A server runs these by name.
        links |= {f"usr/bin/git-{name}": "git" for name in ("receive-pack", "upload-pack")}
        files |= _server(folder)
        import_image(engine, "nexus-test-ssh", files, links)
        return version

    return GitImage("nexus-test-ssh:latest", made_once(tmp_path_factory, "ssh", make))


def _server(folder: Path) -> dict[str, bytes]:
    installed = Path("/usr/sbin/sshd")
    if installed.exists():
        return {"usr/sbin/sshd": installed.read_bytes(), **libraries_of(str(installed))}
    for command in (["apt-get", "download", "-qq", "openssh-server", "libwrap0"],):
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
        except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
            do_without("docker-ssh", "there is no sshd here, and apt-get cannot bring it")
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True, capture_output=True)
    program = folder / "root/usr/sbin/sshd"
    files = {"usr/sbin/sshd": program.read_bytes(), **libraries_of(str(program))}
    for library in (folder / "root").rglob("libwrap.so.*"):
        files |= libraries_of(str(library))
        # Beside the others, where this machine's linker looks.
        beside = next(str(Path(path).parent) for path in files if "libcrypto" in path)
        files[f"{beside}/{library.name}"] = library.resolve().read_bytes()
    return files
