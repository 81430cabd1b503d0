"""Which checkpoint is meant, what a fork's record is, what recovery does with a restore that was cut short."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import CheckpointNotFound, InvalidArgument
from nexus.models.checkpoints import ForkRequest, KeptPlace, VolumeCopy
from nexus.models.ids import CheckpointId, WorkspaceId, new_workspace_id, parse_name
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortMapping
from nexus.models.requests import CreateRequest
from nexus.models.services import ServiceSpec
from nexus.workspace.checkpointing import choose
from nexus.workspace.forked_records import forked, renamed_volumes, requests_of
from nexus.workspace.forking import valid_names
from nexus.workspace.plan import RewindStep, rewind_verdict
from tests.state.test_checkpoint_files import entry


def test_a_name_an_id_or_how_an_id_begins() -> None:
    one, two = (
        entry(identifier=CheckpointId("aaaa00000000")),
        entry(identifier=CheckpointId("aaaa11111111")),
    )
    named = one.model_copy(update={"checkpoint": one.checkpoint.model_copy(update={"name": "aaaa1"})})
    entries = (named, two)
    assert choose(entries, "aaaa1", "a") == named  # a name goes first
    assert choose(entries, "aaaa11", "a") == two
    assert choose(entries, "aaaa00000000", "a") == named
    for wrong, said in (("aaaa", "2 checkpoints"), ("aaa", "has no"), ("b", "has no")):
        with pytest.raises(CheckpointNotFound, match=said):
            choose(entries, wrong, "a")


def test_a_fork_has_its_parents_configuration_and_nothing_of_its_own_yet() -> None:
    identifier = new_workspace_id()
    parent = entry().record.model_copy(
        update={
            "id": identifier,
            "declared_volumes": (
                VolumeMount(source=f"nexus-{identifier}-data", target="/data", kind="volume"),
                VolumeMount(source="/r/.nexus/worktrees/a/seed", target="/seed"),
                VolumeMount(source="/home/me/shared", target="/shared"),
            ),
            "services": (
                ServiceSpec(
                    name="db",
                    tree=Path("/r/.nexus/worktrees/a"),
                    mounts=(VolumeMount(source=f"nexus-{identifier}-db", target="/db", kind="volume"),),
                ),
            ),
            "env_vars": {"A": "b"},
            "hooks_due": ("post-create",),
            "port_mappings": (PortMapping(name="web", container_port=3000, host_port=32801, fixed=True),),
            "container_id": "x",
            "labels": {"team": "y"},
        }
    )
    request = CreateRequest(name=parse_name("b"))
    fork = forked(parent, request, branch="nexus/b", base_commit="1" * 40, worktree=Path("/r/.nexus/worktrees/b"))
    assert fork.id != parent.id
    assert [mount.source for mount in fork.declared_volumes] == [
        f"nexus-{fork.id}-data",
        "/r/.nexus/worktrees/b/seed",
        "/home/me/shared",
    ]
    assert fork.services[0].mounts[0].source == f"nexus-{fork.id}-db"
    assert fork.services[0].tree == fork.worktree_path
    assert (fork.env_vars, fork.hooks_due, fork.labels) == (parent.env_vars, parent.hooks_due, parent.labels)
    assert (fork.container_id, fork.port_mappings, fork.ports, fork.status) == (None, (), {}, "pending")
    (port,) = requests_of(parent.port_mappings)
    assert (port.name, port.container, port.host) == ("web", 3000, None)  # a fixed number is the parent's


@given(st.text(max_size=60))
def test_a_volume_is_written_only_under_the_workspaces_own_id(source: str) -> None:
    identifier = WorkspaceId("0" * 8 + "-0000-0000-0000-" + "0" * 12)
    copy = VolumeCopy(source=source, copy_name="x", target="/x")
    (name,) = renamed_volumes(KeptPlace(key=CheckpointId("k"), volumes=(copy,)), identifier).values()
    assert name.startswith(f"nexus-{identifier}-")


def test_forks_need_names_each_once() -> None:
    assert valid_names(ForkRequest(workspace="a", names=("b", "Not One"))) == ("b",)
    for names in ((), ("b", "b")):
        with pytest.raises(InvalidArgument):
            valid_names(ForkRequest(workspace="a", names=names))


def test_a_restore_goes_only_forward_once_what_was_there_is_kept() -> None:
    steps = list(RewindStep)
    for cut in range(len(steps)):
        wanted = "finish" if cut > steps.index(RewindStep.KEEP) else "leave"
        assert rewind_verdict(steps[: cut + 1], steps[:cut]) == wanted
