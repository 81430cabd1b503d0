"""What is noted of a checkpoint, made of what was kept for it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from nexus.git import KeptTree
from nexus.models.checkpoints import Checkpoint, CheckpointEntry, KeptPlace
from nexus.models.ids import CheckpointId
from nexus.models.workspace import WorkspaceRecord


def entry_of(
    record: WorkspaceRecord,
    identifier: CheckpointId,
    tree: KeptTree,
    place: KeptPlace | None,
    *,
    able: bool,
    frozen: bool,
) -> CheckpointEntry:
    """Return the entry of a checkpoint that has just been taken.

    Args:
        record: The workspace.
        identifier: The checkpoint's id.
        tree: What was kept of its tree.
        place: What its backend kept of its place; ``None`` where that keeps nothing, or there was none.
        able: Whether its backend keeps places.
        frozen: Whether nothing moved meanwhile.
    """
    checkpoint = Checkpoint(
        id=identifier,
        workspace=record.id,
        workspace_name=record.name,
        created_at=datetime.now(UTC),
        ref=tree.ref,
        commit=tree.commit,
        tip=tree.tip,
        backend=record.backend,
        image=place.image if place else None,
        volumes=tuple(volume.source for volume in place.volumes) if place else (),
        services=tuple(sorted(place.services)) if place else (),
        ports=record.port_mappings,
        files=tree.files,
        tree_size=tree.size,
        place_size=place.size if place else 0,
        processes=place.processes if place else False,
        frozen=frozen,
        notes=tuple(_notes(record, tree, place, able=able, frozen=frozen)),
    )
    return CheckpointEntry(checkpoint=checkpoint, record=record, place=place)


def _notes(record: WorkspaceRecord, tree: KeptTree, place: KeptPlace | None, *, able: bool, frozen: bool) -> list[str]:
    """Say what is not in a checkpoint, and would be missed."""
    notes = [f"not in it, because git has no such thing: {', '.join(tree.left)}"] if tree.left else []
    if not able:
        notes.append(
            f"only tree, configuration and ports are in it: the {record.backend} backend keeps nothing that programs "
            "wrote elsewhere"
        )
    elif place is None:
        notes.append("only tree, configuration and ports are in it: its place was missing")
    if not frozen:
        notes.append(f"the {record.backend} backend cannot pause, so programs may have written while it was taken")
    shared = [
        mount
        for mount in record.declared_volumes
        if mount.kind == "bind" and not Path(mount.source).is_relative_to(record.worktree_path)
    ]
    told = [f"{mount.target} is a folder of this host ({mount.source}), which is not in it" for mount in shared]
    return [*notes, *told, *(place.notes if place else ())]
