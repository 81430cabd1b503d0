"""A tiny root file system for test images, made from programs of this machine: no network is needed."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

TEST_IMAGE = "nexus-test:latest"
_FILES = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nworker:x:4321:4321::/home/worker:/bin/sh\n",
    "etc/group": b"root:x:0:\nworker:x:4321:\n",
}
_FALLBACK = (
    "sh", "cat", "chmod", "cp", "dd", "echo", "env", "false", "head", "id", "kill", "ln", "ls", "mkdir", "mv", "printf", "ps",
    "pwd", "readlink", "rm", "seq", "sleep", "stat", "stty", "tail", "test", "touch", "tr", "true", "tty", "wc", "yes", "nc",
)  # fmt: skip


def rootfs() -> bytes:
    """Return a tar archive of a root file system with a shell and the usual small programs."""
    busybox = shutil.which("busybox")
    if busybox is not None and _is_static(busybox):
        return _archive({"bin/busybox": Path(busybox).read_bytes()}, _applets(busybox))
    return _archive(_with_libraries(_FALLBACK), {})


def rootfs_without_shell(program: str) -> bytes:
    """Return one that holds a single program of this machine, with its libraries, and no shell."""
    return _archive(_with_libraries([program]), {})


def _is_static(program: str) -> bool:
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    return "=>" not in done.stdout and "ld-linux" not in done.stdout


def _applets(busybox: str) -> dict[str, str]:
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    return {f"bin/{name}": "busybox" for name in listed.stdout.split() if name != "busybox"}


def _with_libraries(programs: Iterable[str]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name in programs:
        found = shutil.which(name)
        if found is None:
            continue
        files[f"bin/{name}"] = Path(found).read_bytes()
        needed = subprocess.run(["ldd", found], capture_output=True, text=True, check=False)
        for library in re.findall(r"(/[^\s:]+)", needed.stdout):
            files[library.lstrip("/")] = Path(library).resolve().read_bytes()
    return files


def _archive(files: dict[str, bytes], links: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder, mode in {
            "bin": 0o755,
            "etc": 0o755,
            "root": 0o700,
            "tmp": 0o1777,
            "sys": 0o755,
            "proc": 0o755,
        }.items():
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        for path, content in {**_FILES, **files}.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o644 if path.startswith("etc/") else 0o755
            archive.addfile(entry, io.BytesIO(content))
        for path, target in links.items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return buffer.getvalue()
