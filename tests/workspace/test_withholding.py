"""What of a project's folder no image is built from."""

from __future__ import annotations

from pathlib import Path

from nexus.config import ConfigStack
from nexus.git import find_repository
from nexus.models.services import ServiceBuild, ServiceSpec
from nexus.workspace.withholding import withheld, withheld_from


async def test_secrets_and_what_is_kept_there_are_withheld(repository: Path) -> None:
    (repository / ".nexus").mkdir()
    (repository / ".nexus" / "config.yaml").write_text(
        "env_files: [.env]\nsecrets:\n  A: {source: file, path: private/a}\n  B: {source: env, var: B}\n"
    )
    found = withheld(await find_repository(repository), ConfigStack.load(repository).settings)

    inside = {str(path.relative_to(repository)) for path in found}
    assert {".env", "private/a", ".nexus/secrets", ".nexus/state", ".nexus/worktrees", ".nexus/kept"} <= inside
    assert ".nexus" not in inside
    assert ".nexus/config.yaml" not in inside


def test_only_a_service_that_is_built_is_told(tmp_path: Path) -> None:
    away = (tmp_path / "secret",)
    ready = ServiceSpec(name="db", image="postgres")
    made = ServiceSpec(name="web", build=ServiceBuild(context=tmp_path, dockerfile=tmp_path / "Dockerfile"))

    assert withheld_from(ready, away) == ready
    built = withheld_from(made, away).build
    assert built is not None
    assert (built.withheld, built.context) == (away, tmp_path)
