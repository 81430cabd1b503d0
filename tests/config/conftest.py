"""A machine, a user and a project of their own, and the files they keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import JsonValue

from nexus.config import ConfigStack
from nexus.errors import ConfigError


@dataclass
class Site:
    """Where the three files are, and how to load them."""

    home: Path
    root: Path
    node_path: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def user_path(self) -> Path:
        return self.home / ".nexus" / "config.yaml"

    @property
    def project_path(self) -> Path:
        return self.root / ".nexus" / "config.yaml"

    def node(self, text: str | bytes) -> Path:
        return self._write(self.node_path, text)

    def user(self, text: str | bytes) -> Path:
        return self._write(self.user_path, text)

    def project(self, text: str | bytes) -> Path:
        return self._write(self.project_path, text)

    def load(
        self,
        *,
        flags: Mapping[str, JsonValue] | None = None,
        env: Mapping[str, str] | None = None,
        at: Path | None = None,
    ) -> ConfigStack:
        return ConfigStack.load(
            at or self.root,
            flags=flags,
            env={"HOME": str(self.home), **self.env, **(env or {})},
            node_file=self.node_path,
        )

    def problems(
        self, *, flags: Mapping[str, JsonValue] | None = None, env: Mapping[str, str] | None = None
    ) -> tuple[str, ...]:
        """Load, which must fail, and return the problems with the folders cut off."""
        with pytest.raises(ConfigError) as caught:
            self.load(flags=flags, env=env)
        names = {self.node_path: "node", self.user_path: "user", self.project_path: "project"}
        lines = caught.value.problems
        for path, name in names.items():
            lines = tuple(line.replace(str(path), name) for line in lines)
        return lines

    @staticmethod
    def _write(path: Path, text: str | bytes) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path


@pytest.fixture
def site(tmp_path: Path) -> Site:
    root = tmp_path / "home" / "code" / "app"
    (root / ".git").mkdir(parents=True)
    return Site(home=tmp_path / "home", root=root, node_path=tmp_path / "etc" / "config.yaml")


@pytest.fixture
def fixtures() -> Path:
    return Path(__file__).parent / "fixtures"
