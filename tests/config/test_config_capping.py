from __future__ import annotations

from nexus.config import LayerKind
from nexus.models.resources import GB
from tests.config.conftest import Site

SMALL_NODE = "limits:\n  max_resources:\n    cpu: 1\n    memory: 1G\n"


def test_what_nobody_asked_for_gives_way_to_the_nodes_maximum(site: Site) -> None:
    node = site.node(SMALL_NODE)
    stack = site.load()
    given = stack.settings.resources
    assert (given.cpu.cores, given.memory.bytes, given.storage.bytes) == (1, GB, 50 * GB)
    told = stack.explain("defaults.resources.cpu.cores")
    assert told.winner is LayerKind.NODE
    assert told.layers[-1].place == f"{node}:3:10"
    assert told.layers[-1].note == "limits.max_resources.cpu"


def test_a_maximum_above_the_default_changes_nothing(site: Site) -> None:
    site.node("limits: {max_resources: {cpu: 64, memory: 1T}}\n")
    stack = site.load()
    assert stack.settings.resources.cpu.cores == 2
    assert [layer.kind for layer in stack.layers] == [LayerKind.BUILT_IN, LayerKind.NODE]


def test_what_somebody_wrote_is_refused_with_both_places_also_by_the_name_of_a_class(site: Site) -> None:
    site.node(SMALL_NODE)
    site.project("resources: large\n")
    cores, memory = site.problems()
    assert "project:1:12: cpu: 4 cores is more than the node allows, 1 cores (" in cores
    assert ":3:10)" in cores
    assert "memory: 8GiB is more than the node allows, 1GiB (" in memory
    site.project("resources: {cpu: 1, memory: 512M}\n")
    assert site.load().settings.resources.memory.bytes == GB // 2
    assert any("more than the node allows" in line for line in site.problems(flags={"resources": "small"}))


def test_project_ranks_over_user_over_node(site: Site) -> None:
    site.node("limits: {default_resources: small}\n")
    assert site.load().settings.resources.cpu.cores == 1
    site.user("defaults: {resources: large}\n")
    assert site.load().settings.resources.cpu.cores == 4
    site.project("resources: {cpu: 3}\n")
    given = site.load().settings.resources
    assert (given.cpu.cores, given.memory.bytes) == (3, 8 * GB)


def test_scratch_space_is_held_in_memory(site: Site) -> None:
    site.project("resources:\n  memory: 1G\n  storage: {ephemeral: 2G}\n")
    (problem,) = site.problems()
    assert problem == "project:3:24: scratch space of 2GiB is more than the memory of 1GiB, which holds it"
    site.project("resources:\n  memory: 4G\n  storage: {ephemeral: 2G}\n")
    stack = site.load()
    assert stack.settings.resources.storage.ephemeral == 2 * 1024**3
    assert stack.warnings == ()
    local = site.load(flags={"backend": "local"})
    assert [line.split(": ", 1)[1] for line in local.warnings] == [
        "'storage.ephemeral' changes nothing with the backend 'local', whose programs have no scratch space of their own"
    ]
