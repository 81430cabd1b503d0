"""A tiny container image made from programs of this machine: no registry and no network is needed."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import anyio

TINY_IMAGE: Final = "nexus-tiny:latest"
"""What :func:`import_tiny_image` calls the image: a shell and the usual small programs, nothing else."""

_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_FILES = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nworker:x:4321:4321::/home/worker:/bin/sh\n",
    "etc/group": b"root:x:0:\nworker:x:4321:\n",
}
_FALLBACK = (
    "sh", "cat", "chmod", "cp", "dd", "echo", "env", "false", "head", "id", "kill", "ln", "ls", "mkdir", "mv", "printf", "ps",
    "pwd", "readlink", "rm", "seq", "sleep", "stat", "stty", "tail", "test", "touch", "tr", "true", "tty", "wc", "yes", "nc",
)  # fmt: skip


async def import_tiny_image(address: str | None = None, *, name: str = TINY_IMAGE) -> str:
    """Load the image into an engine, again when its programs have changed here; return its name.

    Args:
        address: The engine: ``unix:///path`` or ``tcp://host:port``; where ``DOCKER_HOST`` or the usual socket leads when absent.
        name: Name and tag.
    """
    import aiodocker  # noqa: PLC0415 - the driver is heavy, and an extra

    layer = await anyio.to_thread.run_sync(rootfs)
    async with aiodocker.Docker(url=address) as docker:
        # As a file: what is sent as bytes of this size, the driver's own library warns about.
        async for _ in docker.images.import_image(io.BytesIO(image_archive(layer, name)), stream=True):
            pass
    return name


def image_archive(layer: bytes, name: str) -> bytes:
    """Return a root file system as the archive that ``docker load`` takes (the format of ``docker save``, version 1.2)."""
    config = json.dumps(
        {
            "architecture": _MACHINES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Env": ["PATH=/bin:/usr/bin:/sbin:/usr/sbin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    number = hashlib.sha256(config).hexdigest()
    manifest = json.dumps([{"Config": f"{number}.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in ((f"{number}.json", config), ("layer.tar", layer), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


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
