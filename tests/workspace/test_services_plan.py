from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.config import Settings, WorkspaceIdentity
from nexus.models.ids import WorkspaceId
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortMapping, PortRange, PortRequest
from nexus.models.services import Condition, Healthcheck, ServicePort, ServiceSpec, ServiceState, ServiceStatus
from nexus.workspace.services_plan import (
    as_wanted,
    awaited_to_end,
    degraded,
    dependents,
    judge,
    listeners,
    moved_ports,
    port_requests,
    resolve_services,
    surplus,
    updated,
)

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000    70        0 1 1 0
   1: 0100007F:18EB 0100007F:9C40 01 00000000:00000000 00:00000000 00000000    70        0 1 1 0
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 0
"""


def service(name: str = "db", *, ports: tuple[ServicePort, ...] = (), **depends_on: Condition) -> ServiceSpec:
    return ServiceSpec(name=name, image="x", ports=ports, depends_on=depends_on)


def running(**fields: object) -> ServiceStatus:
    return ServiceStatus.model_validate({"name": "db", "state": ServiceState.RUNNING, **fields})


def settings(*services: ServiceSpec, **fields: object) -> Settings:
    given = {"workspace": WorkspaceIdentity(name="app"), "state_dir": Path("/s"), "project_root": Path("/p")}
    return Settings.model_validate({**given, "services": services, **fields})


def test_sources_are_named_for_one_workspace_alone() -> None:
    mounts = (
        VolumeMount(source="data", target="/data", kind="volume"),
        VolumeMount(source="./sql", target="/sql"),
        VolumeMount(source="/srv", target="/srv"),
    )
    spec = service().model_copy(update={"mounts": mounts})
    (found,) = resolve_services([spec], worktree=Path("/tree"), identifier=WorkspaceId("7f-1"))
    assert [mount.source for mount in found.mounts] == ["nexus-7f-1-data", "/tree/sql", "/srv"]
    assert found.tree == Path("/tree")


def test_ports_go_by_the_services_names() -> None:
    both = (
        ServicePort(container=5432, preferred=5432),
        ServicePort(container=80),
        ServicePort(container=53, protocol="udp"),
    )
    own = (PortRequest(name="web", container=3000), PortRequest(name="db-2", container=1, host=9000))
    found = port_requests(
        settings(service("db", ports=both), service("web", ports=(ServicePort(container=81),)), ports=own)
    )
    assert [(each.name, each.container, each.preferred, each.protocol) for each in found] == [
        ("web", 3000, None, "tcp"),
        ("db-2", 1, None, "tcp"),
        ("db", 5432, 5432, "tcp"),
        ("db-3", 80, None, "tcp"),
        ("db-4", 53, None, "udp"),
        ("web-2", 81, None, "tcp"),
    ]


def test_a_clone_cannot_prefer_a_port_outside_of_the_users_range() -> None:
    ports = (ServicePort(container=1, preferred=22), ServicePort(container=2, preferred=40001))
    found = port_requests(settings(service(ports=ports), port_range=PortRange(start=40000, end=40100)))
    assert [each.preferred for each in found] == [None, 40001]


def test_who_did_not_get_the_port_it_prefers_is_told() -> None:
    requests = [PortRequest(name="a", container=1, preferred=5432), PortRequest(name="b", container=2, preferred=6379)]
    mappings = [
        PortMapping(name="a", container_port=1, host_port=32803),
        PortMapping(name="b", container_port=2, host_port=6379),
    ]
    assert moved_ports(requests, mappings) == ("host port 5432 is taken: a is at 32803",)


def test_what_ends_before_what() -> None:
    found = [service("db"), service("api", db="service_healthy"), service("job", db="service_completed_successfully")]
    assert dependents(found) == {"db": ("api", "job"), "api": (), "job": ()}
    assert awaited_to_end(found) == {"db"}
    assert surplus(found, [running(name="old"), running(name="db")]) == ("old",)


@pytest.mark.parametrize(
    ("status", "verdict", "reason"),
    [
        (None, "failed", "was removed while it started"),
        (running(), "ready", ""),
        (running(health="healthy"), "ready", ""),
        (running(health="starting"), "waiting", "is not healthy yet"),
        (running(health="unhealthy"), "failed", "is unhealthy"),
        (running(state=ServiceState.EXITED, exit_code=0), "ready", ""),
        (running(state=ServiceState.EXITED, exit_code=3), "failed", "ended with status 3"),
        (running(state=ServiceState.EXITED), "failed", "ended with status None"),
        (running(state=ServiceState.RESTARTING, exit_code=3), "waiting", "ends again and again (status 3)"),
        (running(state=ServiceState.CREATED), "waiting", "does not run"),
    ],
)
def test_what_one_look_says(status: ServiceStatus | None, verdict: str, reason: str) -> None:
    seen = judge(service(), status, to_end=False, listening=None)
    assert (seen.verdict, seen.reason) == (verdict, reason)


def test_one_that_is_to_end_is_not_ready_while_it_runs() -> None:
    assert judge(service(), running(health="healthy"), to_end=True, listening=None).reason == "is still at work"
    done = running(state=ServiceState.EXITED, exit_code=0)
    assert judge(service(), done, to_end=True, listening=None).verdict == "ready"


def test_where_nothing_tests_a_service_its_ports_do() -> None:
    spec = service(ports=(ServicePort(container=5432), ServicePort(container=53, protocol="udp")))
    assert judge(spec, running(), to_end=False, listening=listeners(TABLE)).verdict == "ready"
    silent = judge(spec, running(), to_end=False, listening={80})
    assert (silent.verdict, silent.reason) == ("waiting", "does not listen on port 5432 yet")
    host = PortMapping(name="db", container_port=5432, host_port=80)
    assert judge(spec, running(), to_end=False, listening={80}, mappings=[host]).verdict == "ready"
    assert judge(spec, running(health="healthy"), to_end=False, listening=set()).verdict == "ready"


def test_who_listens() -> None:
    assert listeners(TABLE) == {5432, 80}


@given(st.text(max_size=200))
def test_no_table_breaks_the_reader(text: str) -> None:
    assert listeners(text) == frozenset() or ":" in text


def test_what_is_wrong_shows_by_name() -> None:
    specs = [service("b"), service("a"), service("c")]
    seen = as_wanted(specs, [running(name="b"), running(name="c", state=ServiceState.EXITED, exit_code=0)])
    assert [(status.name, status.state) for status in seen] == [("a", "absent"), ("b", "running"), ("c", "exited")]
    assert degraded(seen) == "service 'a' does not run"
    assert degraded(seen[1:]) is None


def test_the_fingerprint_is_of_what_runs() -> None:
    spec = service(ports=(ServicePort(container=1),))
    same = spec.model_copy(update={"depends_on": {"x": "service_started"}, "ports": ()})
    other = spec.model_copy(update={"healthcheck": Healthcheck(test=("NONE",))})
    assert spec.fingerprint == same.fingerprint != other.fingerprint


def test_a_start_follows_the_configuration_as_far_as_its_place_can() -> None:
    port = (ServicePort(container=1),)
    recorded = [service("db", ports=port), service("api"), service("gone"), service("moved"), service("bound")]
    changed = service("db", ports=port).model_copy(update={"env": {"A": "1"}})
    configured = [
        changed,
        service("new"),
        service("api"),
        service("moved", ports=port),
        service("bound", new="service_started"),
    ]
    found, notes = updated(recorded, configured)
    assert found == (changed, *recorded[1:])
    assert [note.partition(":")[0] for note in notes] == [
        "service 'new' is new",
        "service 'gone' is not in the configuration any more and goes with this workspace",
        "service 'moved' has other ports now",
        "service 'bound' depends on a new one now",
    ]
    assert updated(recorded, recorded) == (tuple(recorded), ())
