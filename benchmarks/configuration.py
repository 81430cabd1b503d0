"""Loading and merging the five layers."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmarks.harness import Effort, Sample, alone, timed
from nexus.config import ConfigStack

NODE = "limits: {max_workspaces_per_user: 10}\ndefaults: {backend: docker, idle_timeout: 30m}\n"
USER = "defaults: {idle_timeout: 1h, resources: large, port_range: {start: 34000, end: 36000}}\n"
PROJECT = """\
workspace: {name: app, description: An application}
ports:
  web: {container: 3000, visibility: private}
  api: {container: 5000}
env: {NODE_ENV: development, REDIS_URL: "redis://localhost:6379"}
resources: {cpu: 4, memory: 8G}
"""


async def run(effort: Effort) -> list[Sample]:
    """Measure a load of three files, flags and environment."""
    with tempfile.TemporaryDirectory() as folder:
        home, project, node = Path(folder) / "home", Path(folder) / "app", Path(folder) / "node.yaml"
        for path, text in (
            (node, NODE),
            (home / ".nexus" / "config.yaml", USER),
            (project / ".nexus" / "config.yaml", PROJECT),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        env = {**os.environ, "HOME": str(home), "NEXUS_IDLE_TIMEOUT": "5h"}

        async def load() -> object:
            return ConfigStack.load(project, flags={"backend": "local"}, env=env, node_file=node).settings

        return [await alone("load and merge 5 layers", lambda: timed(load), effort=effort.times(5), limit_ms=20)]
