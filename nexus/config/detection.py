"""What a project is, by the files at its top: enough to write a first configuration that works. Nothing of the project is run."""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import JsonValue

ANY_IMAGE: Final = "buildpack-deps:stable-scm"
"""Debian with git and curl, for a project that says nothing about its tools."""

_MOST: Final = 256 * 1024
_IMAGE: Final = re.compile(
    r"[a-z0-9][a-z0-9._-]*(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]*)*(:[A-Za-z0-9_][A-Za-z0-9._-]*)?(@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_LONGEST_IMAGE: Final = 255
_TOKEN: Final = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|,(?=(?:\s|//[^\n]*|/\*.*?\*/)*[}\]])', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Detected:
    """What was found."""

    image: str = ANY_IMAGE
    because: str = "Debian with git and curl"
    """What the image was chosen for."""
    kinds: tuple[str, ...] = ()
    """What the project is, with the file that says so: ``Python (pyproject.toml)``."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Ports that its programs usually listen on, by name."""
    setup: str | None = None
    """The command that installs what it needs."""
    compose: str | None = None
    """Its compose file."""
    has_dotenv: bool = False
    """Whether there is a ``.env``."""


@dataclass(frozen=True, slots=True)
class _Find:
    kind: str
    image: str | None = None
    because: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    setup: str | None = None


def detect(root: Path) -> Detected:
    """Look at the files at the top of a project. Links, pipes and files above 256 KiB are passed over.

    Args:
        root: The project's root.
    """
    found = [find for look in _LOOKS if (find := look(root)) is not None]
    chosen = next((find for find in found if find.image is not None), None)
    ports: dict[str, int] = {}
    for find in found:
        ports.update({name: number for name, number in find.ports.items() if name not in ports})
    compose = next((name for name in _COMPOSE if _is_file(root / name)), None)
    kinds = [*(find.kind for find in found), *([f"services ({compose})"] if compose else [])]
    return Detected(
        image=(chosen.image or ANY_IMAGE) if chosen else ANY_IMAGE,
        because=chosen.because if chosen else "Debian with git and curl",
        kinds=tuple(kinds),
        ports=ports,
        setup=next((find.setup for find in found if find.setup), None),
        compose=compose,
        has_dotenv=_is_file(root / ".env"),
    )


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def _text(path: Path) -> str:
    """Return a small file's text; empty when it is none, or another's through a link."""
    if not _is_file(path):
        return ""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(_MOST + 1)
    except OSError:
        return ""
    return "" if len(data) > _MOST else data.decode("utf-8", "replace")


def _json(text: str) -> Mapping[str, JsonValue]:
    """Return the object of a JSON text, which may have comments and commas too many; nothing when it is none."""
    try:
        value = json.loads(_TOKEN.sub(lambda match: match[0] if match[0].startswith('"') else " ", text))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _map(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _devcontainer(root: Path) -> _Find | None:
    for name in (".devcontainer/devcontainer.json", ".devcontainer.json"):
        if (root / name).parent.is_symlink() or not _is_file(root / name):
            continue
        document = _json(_text(root / name))
        image, forwarded = document.get("image"), document.get("forwardPorts")
        numbers = (
            [port for port in forwarded if type(port) is int and 0 < port < 65536]
            if isinstance(forwarded, list)
            else []
        )
        ports = {
            ("web" if index == 0 else f"port-{port}"): port for index, port in enumerate(dict.fromkeys(numbers[:10]))
        }
        usable = image if isinstance(image, str) and len(image) <= _LONGEST_IMAGE and _IMAGE.fullmatch(image) else None
        return _Find(f"dev container ({name})", usable, f"the image of {name}", ports)
    return None


def _python(root: Path) -> _Find | None:
    markers = ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "Pipfile", "manage.py")
    marker = next((name for name in markers if _is_file(root / name)), None)
    if marker is None:
        return None
    version, because = "3.13", marker
    if pinned := re.match(r"\s*(3\.\d{1,2})\b", _text(root / ".python-version")):
        version, because = pinned[1], ".python-version"
    elif asked := re.search(r"(?:>=|==|~=|\^)\s*(3\.\d{1,2})", _requires_python(root)):
        version, because = asked[1], "requires-python in pyproject.toml"
    setups = (
        ("uv.lock", "pip install uv && uv sync"),
        ("poetry.lock", "pip install poetry && poetry install"),
        ("requirements.txt", "pip install -r requirements.txt"),
        ("pyproject.toml", "pip install -e ."),
    )
    setup = next((command for name, command in setups if _is_file(root / name)), None)
    ports = {"web": 8000} if _is_file(root / "manage.py") else {}
    return _Find(f"Python ({marker})", f"python:{version}", because, ports, setup)


def _requires_python(root: Path) -> str:
    try:
        document = tomllib.loads(_text(root / "pyproject.toml"))
    except (tomllib.TOMLDecodeError, RecursionError):
        return ""
    project = document.get("project")
    asked = project.get("requires-python") if isinstance(project, dict) else None
    return asked if isinstance(asked, str) else ""


def _node(root: Path) -> _Find | None:
    if not _is_file(root / "package.json"):
        return None
    package = _json(_text(root / "package.json"))
    version, because = "22", "package.json"
    engine = _map(package.get("engines")).get("node")
    if pinned := re.match(r"\s*v?(\d{2})\b", _text(root / ".nvmrc")):
        version, because = pinned[1], ".nvmrc"
    elif isinstance(engine, str) and (asked := re.search(r"(\d{2})\b", engine)):
        version, because = asked[1], "engines in package.json"
    setups = (
        ("pnpm-lock.yaml", "corepack enable && pnpm install"),
        ("yarn.lock", "corepack enable && yarn install"),
        ("package-lock.json", "npm ci"),
    )
    setup = next((command for name, command in setups if _is_file(root / name)), "npm install")
    needed = {**_map(package.get("dependencies")), **_map(package.get("devDependencies"))}
    usual = {
        "astro": 4321,
        "vite": 5173,
        "@angular/cli": 4200,
        "next": 3000,
        "nuxt": 3000,
        "react-scripts": 3000,
        "express": 3000,
    }
    port = next((number for name, number in usual.items() if name in needed), None)
    return _Find("Node.js (package.json)", f"node:{version}", because, {"web": port} if port else {}, setup)


def _go(root: Path) -> _Find | None:
    if not _is_file(root / "go.mod"):
        return None
    asked = re.search(r"^go (1\.\d{1,3})", _text(root / "go.mod"), re.MULTILINE)
    return _Find("Go (go.mod)", f"golang:{asked[1]}" if asked else "golang:1", "go.mod", setup="go mod download")


def _rust(root: Path) -> _Find | None:
    if not _is_file(root / "Cargo.toml"):
        return None
    return _Find("Rust (Cargo.toml)", "rust:1", "Cargo.toml", setup="cargo fetch")


_LOOKS: Final[tuple[Callable[[Path], _Find | None], ...]] = (_devcontainer, _python, _node, _go, _rust)
_COMPOSE: Final = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
