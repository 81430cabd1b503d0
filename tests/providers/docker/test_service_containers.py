"""What the engine is asked for a service, and what its list says of one. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nexus.models.mounts import VolumeMount
from nexus.models.services import Healthcheck, ServiceSpec
from nexus.providers.docker.facts import Listed
from nexus.providers.docker.service_config import (
    Own,
    fingerprint,
    moment,
    read_status,
    service_body,
    tree_links,
    verdict,
)

OWN = Own.model_validate(
    {
        "Id": "abc",
        "Config": {
            "Labels": {
                "dev.nexus.workspace": "7f",
                "dev.nexus.name": "shop",
                "dev.nexus.docker.ports": "[]",
                "mine": "1",
            }
        },
        "HostConfig": {"Memory": 4 << 30, "MemorySwap": 5 << 30, "NanoCpus": 2_000_000_000, "PidsLimit": 99},
    }
)


def body(**fields: object) -> dict[str, Any]:
    spec = ServiceSpec.model_validate({"name": "db", "image": "x", **fields})
    return dict(service_body(spec, OWN, selinux=False, mark="m"))


def test_a_service_is_no_more_than_its_workspace() -> None:
    host = body()["HostConfig"]
    assert host["NetworkMode"] == "container:abc"
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]) == (
        4 << 30,
        5 << 30,
        2_000_000_000,
        99,
    )
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert "MKNOD" in host["CapDrop"]
    assert body()["Labels"] == {
        "dev.nexus.workspace": "7f",
        "dev.nexus.name": "shop",
        "dev.nexus.service": "db",
        "dev.nexus.docker.fingerprint": "m",
    }
    assert {"Cmd", "Entrypoint", "User", "WorkingDir", "Healthcheck"}.isdisjoint(body())


def test_folders_of_the_tree_are_links_that_nobody_outside_follows() -> None:
    """Whoever works in the tree can replace a folder by a link to anywhere, at any moment: the engine must never resolve one."""
    mounts = [
        VolumeMount(source="/tree/sql", target="/docker-entrypoint-initdb.d", read_only=True),
        VolumeMount(source="/tree/data", target="/data"),
        VolumeMount(source="/srv/shared", target="/shared"),
        VolumeMount(source="nexus-7f-pg", target="/pg", kind="volume"),
    ]
    made = body(mounts=mounts, tree=Path("/tree"))["HostConfig"]["Mounts"]
    assert [(each["Source"], each["Target"], each["ReadOnly"]) for each in made] == [
        ("/srv/shared", "/shared", False),
        ("nexus-7f-pg", "/pg", False),
        ("/tree", "/run/nexus/tree", False),
        ("/tree", "/run/nexus/tree-ro", True),
    ]
    assert made[1]["VolumeOptions"]["Labels"]["dev.nexus.workspace"] == "7f"
    spec = ServiceSpec(name="db", image="x", mounts=tuple(mounts), tree=Path("/tree"))
    assert tree_links(spec) == {
        "/docker-entrypoint-initdb.d": "/run/nexus/tree-ro/sql",
        "/data": "/run/nexus/tree/data",
    }


@pytest.mark.parametrize(
    ("policy", "made"),
    [
        ("no", {"Name": "no"}),
        ("always", {"Name": "unless-stopped"}),
        ("on-failure:3", {"Name": "on-failure", "MaximumRetryCount": 3}),
    ],
)
def test_restart_policies(policy: str, made: dict[str, object]) -> None:
    assert body(restart=policy)["HostConfig"]["RestartPolicy"] == made


def test_a_healthcheck_in_the_engines_units() -> None:
    check = Healthcheck.model_validate({"test": ["CMD", "true"], "interval": "1.5s", "start_period": 0})
    assert body(healthcheck=check)["Healthcheck"] == {
        "Test": ["CMD", "true"],
        "Interval": 1_500_000_000,
        "Timeout": 30_000_000_000,
        "Retries": 3,
        "StartPeriod": 0,
    }


@pytest.mark.parametrize(
    ("state", "text", "seen"),
    [
        ("running", "Up 3 seconds", ("running", None, None)),
        ("running", "Up 3 seconds (healthy)", ("running", "healthy", None)),
        ("running", "Up 1 second (health: starting)", ("running", "starting", None)),
        ("running", "Up About a minute (unhealthy)", ("running", "unhealthy", None)),
        ("paused", "Up 2 hours (Paused)", ("paused", None, None)),
        ("exited", "Exited (137) 5 seconds ago", ("exited", None, 137)),
        ("restarting", "Restarting (1) 2 seconds ago", ("restarting", None, 1)),
        ("created", "Created", ("created", None, None)),
        ("removing", "Removal In Progress", ("absent", None, None)),
    ],
)
def test_what_a_list_says_of_a_service(state: str, text: str, seen: tuple[object, ...]) -> None:
    status = read_status(Listed(id="1", state=state, status=text, labels={"dev.nexus.service": "db"}))
    assert (status.name, (status.state, status.health, status.exit_code)) == ("db", seen)


@pytest.mark.parametrize(
    ("state", "mark", "stale", "choice"),
    [
        ("running", "m", False, "keep"),
        ("paused", "m", False, "keep"),
        ("running", "m", True, "restart"),
        ("exited", "m", False, "start"),
        ("created", "m", False, "start"),
        ("running", "old", False, "make"),
        ("exited", "old", False, "make"),
        ("dead", "m", False, "make"),
    ],
)
def test_what_becomes_of_a_container_that_is_there(state: str, mark: str, stale: bool, choice: str) -> None:
    assert verdict(state, mark, "m", stale=stale) == choice


def test_moments_compare_whatever_zeros_were_left_out() -> None:
    assert moment("2026-01-01T00:00:05.12Z") > moment("2026-01-01T00:00:05.119999999Z")
    assert moment("2026-01-01T00:00:05Z") < moment("2026-01-01T00:00:05.1Z")


def test_another_image_or_another_place_makes_another_container() -> None:
    spec = ServiceSpec(name="db", image="x")
    marks = {
        fingerprint(spec, "sha256:1", OWN),
        fingerprint(spec, "sha256:2", OWN),
        fingerprint(spec, "sha256:1", OWN.model_copy(update={"id": "def"})),
        fingerprint(spec.model_copy(update={"env": {"A": "1"}}), "sha256:1", OWN),
    }
    assert len(marks) == 4
