"""A backend whose trees are not on this host: its workspaces' files are reached by commands, and nobody notices."""

from __future__ import annotations

from pathlib import Path

import nexus
from nexus.models.instances import Capability, ProviderInfo
from nexus.providers.local import LocalProvider
from nexus.providers.registry import ProviderRegistry
from nexus.workspace.files_by_command import FilesByCommand


class ElsewhereProvider(LocalProvider):
    """Plain processes, and no word of where their files are."""

    async def probe(self) -> ProviderInfo:
        info = await super().probe()
        return info.model_copy(update={"capabilities": info.capabilities - {Capability.HOST_TREE}})


async def test_files_are_reached_by_commands_where_the_tree_is_not_on_this_host(repository: Path) -> None:
    registry = ProviderRegistry.installed()
    registry.register("local", ElsewhereProvider, replace=True)

    def opened() -> nexus.WorkspaceManager:
        return nexus.open(repository, flags={"backend": "local"}, providers=registry)

    async with opened() as nx:
        ws = await nx.create("a")
        assert isinstance(ws.fs, FilesByCommand)
        await ws.fs.write_text("notes/new.md", "by command\n")
        assert (ws.info.worktree_path / "notes" / "new.md").read_text() == "by command\n"
        assert [match.path async for match in ws.fs.grep("by comm")] == ["notes/new.md"]
    async with opened() as nx:  # another program, which has only been told the workspace's name
        ws = await nx.attach("a")
        assert await ws.fs.read_text("/workspace/notes/new.md") == "by command\n"
        await ws.destroy(force=True)
