"""What the docker backend decides without asking anybody."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from io import BytesIO
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from nexus.errors import BuildFailed, ConfigError, InvalidArgument, PortInUse, ProviderUnavailable
from nexus.models.instances import InstanceState
from nexus.models.ports import PortMapping
from nexus.providers.docker.build_context import open_source, pack
from nexus.providers.docker.client import EngineVersion, agree
from nexus.providers.docker.container_config import Identity, choose_identity
from nexus.providers.docker.dockerignore import IgnoreRules
from nexus.providers.docker.endpoint import SYSTEM_SOCKET, Surroundings, look_around, parse_address, resolve_endpoint
from nexus.providers.docker.facts import LABEL_PORTS, Container, ports_label, ports_of, status_of
from nexus.providers.docker.failures import EngineRefused, taken_port
from nexus.providers.docker.networks import candidates, free_candidates, parse_routes
from nexus.providers.docker.options import parse_options, stores_as
from nexus.providers.docker.setup_archive import setup_archive
from nexus.providers.docker.usage import Counters, Reading, stats_of


def _context(name: str, host: str) -> dict[str, str]:
    meta = {"Name": name, "Endpoints": {"docker": {"Host": host}}}
    return {hashlib.sha256(name.encode()).hexdigest(): json.dumps(meta)}


@pytest.mark.parametrize(
    ("socket", "around", "shown", "origin"),
    [
        ("/a.sock", Surroundings(env={"DOCKER_HOST": "unix:///b"}), "/a.sock", "option socket"),
        (None, Surroundings(env={"DOCKER_HOST": "tcp://h"}), "tcp://h:2375", "DOCKER_HOST"),
        (None, Surroundings(env={"DOCKER_HOST": "tcp://[::1]:99"}), "tcp://[::1]:99", "DOCKER_HOST"),
        (
            None,
            Surroundings(config='{"currentContext": "work"}', contexts=_context("work", "unix:///c")),
            "/c",
            "context work",
        ),
        (
            None,
            Surroundings(
                env={"DOCKER_CONTEXT": "x"}, config='{"currentContext": "work"}', contexts=_context("x", "unix:///x")
            ),
            "/x",
            "context x",
        ),
        (None, Surroundings(config='{"currentContext": "default"}'), SYSTEM_SOCKET, "default"),
        (None, Surroundings(), SYSTEM_SOCKET, "default"),
        (
            None,
            Surroundings(uid=7, files=frozenset({"/run/user/7/docker.sock", "/run/user/7/podman/podman.sock"})),
            "/run/user/7/docker.sock",
            "default",
        ),
        (
            None,
            Surroundings(uid=7, files=frozenset({"/run/user/7/podman/podman.sock"})),
            "/run/user/7/podman/podman.sock",
            "default",
        ),
    ],
)
def test_where_the_engine_is(socket: str | None, around: Surroundings, shown: str, origin: str) -> None:
    endpoint = resolve_endpoint(socket, around)

    assert (endpoint.shown, endpoint.origin) == (shown, origin)


@pytest.mark.parametrize(
    "around",
    [
        Surroundings(env={"DOCKER_CONTEXT": "gone"}),
        Surroundings(config="{not json"),
        Surroundings(env={"DOCKER_HOST": "ssh://me@host"}),
        Surroundings(env={"DOCKER_HOST": "relative/path"}),
        Surroundings(env={"DOCKER_HOST": "tcp://host:notaport"}),
        Surroundings(env={"DOCKER_CONTEXT": "odd"}, contexts={hashlib.sha256(b"odd").hexdigest(): "[]"}),
    ],
)
def test_an_address_that_cannot_be_used_is_never_guessed_around(around: Surroundings) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_endpoint(None, around)

    assert caught.value.hint


def test_certificates_come_from_the_environment() -> None:
    around = Surroundings(env={"DOCKER_HOST": "tcp://h", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"})

    endpoint = resolve_endpoint(None, around)

    assert endpoint.shown == "tcp://h:2376"
    assert endpoint.tls is not None
    assert endpoint.tls.ca == "/certs/ca.pem"


def test_looking_around_reads_contexts_and_survives_an_unreadable_home(tmp_path: Path) -> None:
    meta = tmp_path / ".docker" / "contexts" / "meta" / "abc"
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text("{}")
    (tmp_path / ".docker" / "config.json").write_text("{}")

    around = look_around({"HOME": str(tmp_path)}, 7)

    assert (around.config, dict(around.contexts)) == ("{}", {"abc": "{}"})
    assert look_around({"HOME": "/dev/null"}, 7).contexts == {}


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_configuration_error(text: str) -> None:
    try:
        endpoint = parse_address(text, origin="test")
    except ConfigError:
        return
    assert endpoint.kind in {"unix", "tcp"}


@pytest.mark.parametrize(
    "options",
    [
        {"sokcet": "/x"},
        {"subnet_pool": "8.8.0.0/16"},
        {"subnet_pool": "10.0.0.0/28"},
        {"user": "root"},
        {"pids_limit": 1},
        {"network": "a b"},
    ],
)
def test_wrong_settings_name_their_place(options: dict[str, JsonValue]) -> None:
    with pytest.raises(ConfigError, match=f"backends.docker.{next(iter(options))}"):
        parse_options(options)


@pytest.mark.parametrize(
    ("newest", "oldest", "agreed"), [("1.41", "1.12", "v1.41"), ("1.47", "1.24", "v1.47"), ("1.60", "1.44", "v1.51")]
)
def test_the_version_spoken_is_the_newest_both_know(newest: str, oldest: str, agreed: str) -> None:
    assert agree(EngineVersion(api_version=newest, min_api_version=oldest)) == agreed


def test_no_common_version() -> None:
    for newest, oldest in (("1.40", "1.12"), ("1.70", "1.60")):
        with pytest.raises(ProviderUnavailable):
            agree(EngineVersion(api_version=newest, min_api_version=oldest))


def test_who_runs_inside() -> None:
    assert choose_identity("host", rootless=False, uid=1000, gid=100) == Identity(user="1000:100", uid=1000, gid=100)
    assert choose_identity("host", rootless=True, uid=1000, gid=100) == Identity(user="0:0")
    assert choose_identity("image", rootless=False, uid=1, gid=1).home is None
    assert choose_identity("5:6", rootless=True, uid=1, gid=1) == Identity(user="5:6", uid=5, gid=6)


@given(st.text(), st.integers(min_value=0, max_value=4))
def test_subnets_are_each_met_once_and_always_in_the_same_order(seed: str, bits: int) -> None:
    pool = IPv4Network(f"10.20.0.0/{24 - bits}")
    found = list(candidates(pool, 28, seed))

    assert len(set(found)) == len(found) == 1 << (4 + bits)
    assert all(subnet.subnet_of(pool) for subnet in found)
    assert found == list(candidates(pool, 28, seed))


def test_routes_are_walked_around() -> None:
    table = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "tun0\t0000D50A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    routes = parse_routes(table)

    assert routes == (IPv4Network("10.213.0.0/24"),)
    free = list(free_candidates(IPv4Network("10.213.0.0/22"), 28, "x", routes))
    assert len(free) == 48
    assert not any(subnet.overlaps(routes[0]) for subnet in free)


@pytest.mark.parametrize(
    ("state", "code", "oom", "error", "seen"),
    [
        ("created", 0, False, "", InstanceState.STOPPED),
        ("created", 128, False, "no such device", InstanceState.FAILED),
        ("running", 0, False, "", InstanceState.RUNNING),
        ("paused", 0, False, "", InstanceState.PAUSED),
        ("exited", 0, False, "", InstanceState.STOPPED),
        ("exited", 137, False, "", InstanceState.STOPPED),
        ("exited", 255, False, "", InstanceState.STOPPED),
        ("exited", 137, True, "", InstanceState.FAILED),
        ("exited", 3, False, "", InstanceState.FAILED),
        ("exited", 0, True, "", InstanceState.STOPPED),
        ("dead", 0, False, "", InstanceState.FAILED),
        ("removing", 0, False, "", InstanceState.GONE),
        ("something-new", 0, False, "", InstanceState.UNKNOWN),
    ],
)
def test_what_a_containers_state_means(state: str, code: int, oom: bool, error: str, seen: InstanceState) -> None:
    raw = {"Id": "a", "State": {"Status": state, "ExitCode": code, "OOMKilled": oom, "Error": error}}

    assert status_of(Container.model_validate(raw)).state is seen


def test_ports_are_remembered_and_nonsense_is_not_believed() -> None:
    ports = (PortMapping(name="web", container_port=80, host_port=32801, visibility="public", fixed=True),)

    assert ports_of({LABEL_PORTS: ports_label(ports)}) == ports
    for nonsense in ("", "[", "{}", '[{"name": 1}]'):
        assert ports_of({LABEL_PORTS: nonsense}) == ()


@pytest.mark.parametrize(
    "text",
    [
        "driver failed programming external connectivity: Bind for 127.0.0.1:8080 failed: port is already allocated",
        "Error starting userland proxy: listen tcp4 127.0.0.1:8080: bind: address already in use",
        "failed to bind host port for 127.0.0.1:8080:10.0.0.2:80/tcp: address already in use",
    ],
)
def test_a_taken_port_is_read_from_every_engines_words(text: str) -> None:
    error = taken_port(EngineRefused("start", status=500, text=text))

    assert isinstance(error, PortInUse)
    assert error.details["port"] == 8080
    assert taken_port(EngineRefused("start", status=500, text="no such device")) is None


def test_shares_of_the_processor() -> None:
    counters = Counters.model_validate(
        {
            "cpu_stats": {"cpu_usage": {"total_usage": 3_000_000_000}},
            "memory_stats": {"usage": 1000, "limit": 1 << 62, "stats": {"total_inactive_file": 400}},
            "pids_stats": {"current": 3},
        }
    )

    first, reading = stats_of(counters, 10.0, None)
    second, _ = stats_of(counters, 12.0, Reading(at=10.0, cpu_seconds=2.0))
    restarted, _ = stats_of(counters, 12.0, Reading(at=10.0, cpu_seconds=9.0))

    assert (first.cpu_percent, first.memory_bytes, first.memory_limit, first.processes) == (None, 600, None, 3)
    assert reading == Reading(at=10.0, cpu_seconds=3.0)
    assert second.cpu_percent == pytest.approx(50.0)
    assert restarted.cpu_percent is None


@pytest.mark.parametrize(
    ("rules", "ignored", "kept"),
    [
        ("node_modules", ["node_modules", "node_modules/a/b"], ["src/node_modules", "node_modules2"]),
        ("*.log", ["a.log"], ["a/b.log", "a.logs"]),
        ("**/*.log", ["a.log", "a/b/c.log"], ["a/b.txt"]),
        ("a/**/z", ["a/z", "a/b/c/z"], ["z", "b/z"]),
        ("docs\n!docs/README.md", ["docs/a"], ["docs/README.md"]),
        ("# docs\n\n  tmp/  ", ["tmp", "tmp/x"], ["docs"]),
        ("/abs", ["abs"], ["x/abs"]),
        ("fil?\n[ab]", ["file", "a", "b"], ["fil", "fi/e", "c"]),
        ("[", [], ["a", "b"]),
        ("*\n!keep", ["a", "b/c"], ["keep"]),
    ],
)
def test_what_a_dockerignore_leaves_out(rules: str, ignored: list[str], kept: list[str]) -> None:
    parsed = IgnoreRules.parse(rules)

    assert [path for path in ignored if not parsed.ignores(path)] == []
    assert [path for path in kept if parsed.ignores(path)] == []


@given(st.text(alphabet="ab*?[]!/.\\#-\n ", max_size=30), st.text(alphabet="ab/.", min_size=1, max_size=12))
def test_no_dockerignore_breaks_the_matching(rules: str, path: str) -> None:
    ignored = IgnoreRules.parse(rules).ignores(path)
    assert IgnoreRules.parse(f"**\n{rules}").ignores(path) or any(line.startswith("!") for line in rules.split("\n"))
    # The last rule that fits decides, whatever stands before it.
    assert IgnoreRules.parse(f"{rules}\n**").ignores(path)
    assert not IgnoreRules.parse(f"{rules}\n!**").ignores(path)
    assert IgnoreRules.parse(f"{rules}\n{rules}").ignores(path) is ignored


def test_a_context_is_the_same_whenever_its_content_is(tmp_path: Path) -> None:
    hashes = []
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / "b").mkdir(parents=True)
        (folder / "Dockerfile").write_text("FROM x\n")
        (folder / "b" / "f").write_text("content")
        hashes.append(pack(open_source(folder / "Dockerfile", None), None))
    assert hashes[0] == hashes[1]

    (tmp_path / "two" / "b" / "f").chmod(0o755)
    executable = pack(open_source(tmp_path / "two" / "Dockerfile", None), None)
    (tmp_path / "two" / "b" / "f").write_text("other")
    changed = pack(open_source(tmp_path / "two" / "Dockerfile", None), None)
    assert len({hashes[0], executable, changed}) == 3


def test_a_context_is_without_what_is_withheld_whatever_its_rules_say(tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / ".nexus" / "state").mkdir(parents=True)
    (root / ".nexus" / "worktrees" / "a" / ".nexus" / "state").mkdir(parents=True)
    (root / ".nexus" / "state" / "record").write_text("ours")
    (root / ".nexus" / "Dockerfile").write_text("FROM x\nCOPY . /all\n")
    (root / ".git").mkdir()
    (root / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (root / "deep").mkdir()
    (root / "deep" / "password").write_text("secret")
    (root / "alias").symlink_to("deep/password")
    (root / "kept").write_text("source")
    (root / ".dockerignore").write_text("!deep/password\n!.nexus/state\n")
    away = (root / ".nexus" / "state", root / ".nexus" / "worktrees", root / "alias", tmp_path / "elsewhere")

    seen = packed(root / ".nexus" / "Dockerfile", root, away)
    assert seen == {".dockerignore", ".nexus", ".nexus/Dockerfile", "deep", "kept"}
    assert packed(root / ".nexus" / "Dockerfile", None, away) == {"Dockerfile"}
    # Below a withheld folder, where a service of a worktree may be built: what is withheld there is another matter.
    (root / ".nexus" / "worktrees" / "a" / "Dockerfile").write_text("FROM x\n")
    tree = root / ".nexus" / "worktrees" / "a"
    assert packed(tree / "Dockerfile", None, away[:1]) == {"Dockerfile", ".nexus", ".nexus/state"}

    (root / ".dockerignore").write_text("!.git\n")
    assert ".git/HEAD" in packed(root / ".nexus" / "Dockerfile", root, away)


def packed(dockerfile: Path, context: Path | None, withheld: tuple[Path, ...]) -> set[str]:
    buffer = BytesIO()
    pack(open_source(dockerfile, context, withheld), buffer)
    with tarfile.open(fileobj=BytesIO(buffer.getvalue())) as archive:
        return set(archive.getnames())


def test_a_context_holds_links_as_links_and_no_special_files(tmp_path: Path) -> None:

    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM x\n")
    (folder / "passwords").symlink_to("/etc/passwd")
    (folder / "outside").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    buffer = BytesIO()

    pack(open_source(folder / "Dockerfile", None), buffer)

    with tarfile.open(fileobj=BytesIO(buffer.getvalue())) as archive:
        found = {entry.name: (entry.type, entry.linkname) for entry in archive}
    assert found == {
        "Dockerfile": (tarfile.REGTYPE, ""),
        "passwords": (tarfile.SYMTYPE, "/etc/passwd"),
        "outside": (tarfile.SYMTYPE, str(tmp_path)),
    }


def test_a_dockerfile_may_neither_be_a_link_nor_lie_outside(tmp_path: Path) -> None:
    project, outside = tmp_path / "project", tmp_path / "outside"
    project.mkdir()
    outside.write_text("FROM secret\n")
    (project / "Dockerfile").symlink_to(outside)

    for dockerfile, context in (
        (project / "Dockerfile", None),
        (outside, project),
        (project / "none", None),
        (project, tmp_path),
    ):
        with pytest.raises(BuildFailed):
            open_source(dockerfile, context)
    with pytest.raises(BuildFailed):
        open_source(outside, tmp_path / "absent")


def test_the_setup_archive_holds_folders_and_links_of_the_user() -> None:
    data = setup_archive(folders=["/home/nexus"], links={"/workspace": "/srv/a b"}, uid=5, gid=6)

    with tarfile.open(fileobj=BytesIO(data)) as archive:
        home, link = archive.getmembers()
    assert (home.name, home.isdir(), home.uid, home.gid) == ("home/nexus", True, 5, 6)
    assert (link.name, link.issym(), link.linkname) == ("workspace", True, "/srv/a b")
    for path in ("relative", "/", "//", "/.."):
        with pytest.raises(InvalidArgument):
            setup_archive(folders=[], links={path: "x"}, uid=0, gid=0)


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        (None, "vfs", True),
        ("overlay2", "", True),
        ("overlay2", "overlay2", True),
        ("overlay2", "overlayfs", True),
        ("overlayfs", "overlay2", True),
        ("overlay2", "vfs", False),
        ("btrfs", "overlayfs", False),
    ],
)
def test_which_storage_drivers_are_the_same(wanted: str | None, found: str, *, same: bool) -> None:
    assert stores_as(wanted, found) is same
