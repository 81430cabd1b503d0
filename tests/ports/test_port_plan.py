from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import InvalidArgument, PortsExhausted
from nexus.models.ports import RESERVED_PORTS, PortRange, PortRequest
from nexus.ports.plan import BLOCK, DOCKER, FALLBACK, SPRITE, block_of, block_order, pick, propose, regions
from nexus.state import PortKey

PLACES = (DOCKER, PortRange(start=40000, end=65529))


def want(*names: str) -> list[PortRequest]:
    return [PortRequest(name=name, container=1000 + number) for number, name in enumerate(names)]


def offsets(*names: str, busy: tuple[int, ...] = ()) -> dict[str, int]:
    """Where services end up in the block of the key "k"; ``busy`` holds offsets."""
    base = next(block_order("k", PLACES))
    taken: list[PortKey] = [("tcp", base + offset) for offset in busy]
    return {each.name: each.port - base for each in propose(want(*names), taken=(), busy=taken, key="k", places=PLACES)}


@pytest.mark.parametrize("backend", ["docker", "local", "mock", "kubernetes", "third-party"])
def test_the_map(backend: str) -> None:
    assert regions(backend) == PLACES
    assert regions("sprite") == (SPRITE, PLACES[1])
    assert len(list(block_order("k", [DOCKER]))) == 220
    assert len(list(block_order("k", regions("sprite")[:1]))) == 500
    assert len(list(block_order("k", regions("sprite")[1:]))) == 2553


@pytest.mark.parametrize(
    ("backend", "start", "end", "expected"),
    [
        ("docker", 34000, 36000, [(34000, 34999)]),
        ("sprite", 34000, 36000, [(35000, 35999)]),
        ("docker", 34995, 40020, [(40000, 40019)]),
        ("docker", 32805, 32829, [(32810, 32829)]),
        ("docker", 61000, 61019, [(61000, 61019)]),
        ("docker", 20000, 20105, [(20000, 20099)]),
        ("docker", 35000, 35019, [(35000, 35019)]),
        ("docker", 30000, 65535, [(32800, 34999), (40000, 65529)]),
    ],
)
def test_a_range_narrows_to_whole_blocks(backend: str, start: int, end: int, expected: list[tuple[int, int]]) -> None:
    found = regions(backend, PortRange(start=start, end=end))
    assert [(each.start, each.end) for each in found] == expected


def test_a_range_without_room_for_a_block_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="20000-20008 has no room"):
        regions("docker", PortRange(start=20000, end=20008))


def test_the_order_starts_at_the_keys_place_and_visits_every_block_once() -> None:
    order = list(block_order("/home/me/app:feature-auth", PLACES))
    assert order == list(block_order("/home/me/app:feature-auth", PLACES)), "the same on every machine"
    assert order[0] == 33930, "a change of the hash would move everybody's ports"
    assert [(base - DOCKER.start) // BLOCK for base in order[:220]] == [(113 + step) % 220 for step in range(220)]
    assert len(set(order)) == len(order) == 220 + 2553
    assert all(base in FALLBACK for base in order[220:])


def test_services_have_their_places() -> None:
    assert offsets("worker", "redis", "postgres", "api", "web", "ssh", "metrics") == {
        "ssh": 0,
        "web": 1,
        "api": 2,
        "postgres": 3,
        "redis": 4,
        "worker": 5,
        "metrics": 6,
    }
    assert offsets("HTTP", "db", "Cache") == {"HTTP": 1, "db": 3, "Cache": 4}


def test_two_services_of_one_place() -> None:
    assert offsets("mysql", "postgres", "x") == {"mysql": 3, "postgres": 5, "x": 6}


def test_the_rest_overflows_into_places_that_nobody_wants() -> None:
    assert offsets("a", "b", "c", "d", "e", "f", "api") == {
        "a": 5, "b": 6, "c": 7, "d": 8, "e": 9, "f": 1, "api": 2,
    }  # fmt: skip


def test_a_busy_port_moves_one_service_and_not_the_block() -> None:
    assert offsets("ssh", "web", "x", busy=(1, 5)) == {"ssh": 0, "web": 6, "x": 7}


def test_more_than_ten_services_take_a_second_block() -> None:
    names = [f"s{number}" for number in range(13)]
    proposed = propose(want(*names), taken=(), key="k", places=PLACES)
    first, second = islice(block_order("k", PLACES), 2)
    assert [each.base for each in proposed] == [first] * 10 + [second] * 3
    assert len({each.port for each in proposed}) == 13


def test_a_block_with_a_foreign_lease_is_left_alone() -> None:
    first, second = islice(block_order("k", PLACES), 2)
    (proposed,) = propose(want("web"), taken=[("udp", first + 9)], key="k", places=PLACES)
    assert (proposed.base, proposed.port) == (second, second + 1)
    (proposed,) = propose(want("web"), taken=[], key="k", places=PLACES, base=second)
    assert proposed.base == second, "the block it has already comes first"
    (proposed,) = propose(want("web"), taken=[], key="k", places=PLACES, held=[first + 1])
    assert proposed.port == first + 5, "the port of another service of ours"


def test_the_fallback_comes_after_the_last_block_and_then_nothing() -> None:
    docker: list[PortKey] = [("tcp", base) for base in block_order("k", [DOCKER])]
    (proposed,) = propose(want("web"), taken=docker, key="k", places=PLACES)
    assert proposed.port in FALLBACK
    everything: list[PortKey] = [("tcp", base) for base in block_order("k", PLACES)]
    with pytest.raises(PortsExhausted, match="all 2773 blocks in 32800-34999, 40000-65529") as caught:
        propose(want("web"), taken=everything, key="k", places=PLACES)
    assert caught.value.details == {"blocks": 2773, "wanted": 1, "leased_ports": 2773}


def test_fixed_ports_are_taken_as_they_are() -> None:
    requests = [
        PortRequest(name="dns", container=53, host=53, protocol="udp"),
        PortRequest(name="dns-tcp", container=53, host=53),
        PortRequest(name="web", container=80, host=8080),
    ]
    proposed = propose(requests, taken=(), key="k", places=PLACES)
    assert [(each.key, each.fixed, each.base) for each in proposed] == [
        (("udp", 53), True, None),
        (("tcp", 53), True, None),
        (("tcp", 8080), True, None),
    ]


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ({"name": "a"}, {"name": "a"}, "two ports are called 'a'"),
        ({"name": "a", "host": 80}, {"name": "b", "host": 80}, "'a' and 'b' both want host port 80/tcp"),
        ({"name": "a", "host": 32768}, {"name": "b"}, "32768 of 'a' is reserved"),
    ],
)
def test_contradictions_are_refused(first: dict[str, object], second: dict[str, object], reason: str) -> None:
    requests = [PortRequest.model_validate({"container": 1, **each}) for each in (first, second)]
    with pytest.raises(InvalidArgument, match=reason):
        propose(requests, taken=(), key="k", places=PLACES)


keys = st.tuples(st.sampled_from(["tcp", "udp"]), st.integers(32700, 33200) | st.integers(40000, 40500))
requests = st.lists(
    st.builds(
        PortRequest,
        name=st.sampled_from(["ssh", "web", "http", "api", "db", "postgres", "cache", "redis"])
        | st.text("xyz", min_size=1, max_size=3),
        container=st.integers(1, 65535),
        host=st.none() | st.integers(1, 32767) | st.integers(32800, 33200),
        protocol=st.sampled_from(["tcp", "udp"]),
    ),
    max_size=25,
    unique_by=(lambda request: request.name, lambda request: request.host or request.name),
)


@given(
    wanted=requests,
    taken=st.sets(keys, max_size=40),
    busy=st.sets(keys, max_size=40),
    key=st.text(max_size=20),
    backend=st.sampled_from(["docker", "sprite"]),
    port_range=st.none() | st.just(PortRange(start=32800, end=33199)) | st.just(PortRange(start=40000, end=40399)),
)
def test_whatever_is_asked_for_is_given_without_a_clash(
    wanted: list[PortRequest],
    taken: set[PortKey],
    busy: set[PortKey],
    key: str,
    backend: str,
    port_range: PortRange | None,
) -> None:
    try:
        places = regions(backend, port_range)
        proposed = propose(wanted, taken=taken, busy=busy, key=key, places=places)
    except PortsExhausted:
        assert port_range is not None, "the whole map is never full of this little"
        return
    assert proposed == propose(wanted, taken=set(taken), busy=list(busy), key=key, places=places)
    assert [each.name for each in proposed] == [request.name for request in wanted]
    numbers = [each.port for each in proposed]
    assert len(set(numbers)) == len(numbers)
    for each, request in zip(proposed, wanted, strict=True):
        assert each.port not in RESERVED_PORTS
        assert each.protocol == request.protocol
        if request.host is not None:
            assert (each.port, each.fixed) == (request.host, True)
            continue
        assert each.base is not None
        assert each.port in range(each.base, each.base + BLOCK)
        assert any(each.port in place for place in places)
        assert each.port not in {port for _, port in taken | busy}


@given(
    count=st.integers(1, 30),
    taken=st.sets(keys, max_size=40),
    preferred=st.none() | st.integers(1, 32767),
    key=st.text(max_size=10),
)
def test_programs_get_ports_of_the_fallback(count: int, taken: set[PortKey], preferred: int | None, key: str) -> None:
    ports = pick(count, taken=taken, key=key, preferred=preferred)
    assert len(set(ports)) == count
    assert not set(ports) & {port for _, port in taken}
    assert all(port in FALLBACK for port in ports if port != preferred)
    assert preferred is None or ports[0] == preferred


def test_programs_can_run_out_of_ports() -> None:
    place = PortRange(start=20000, end=20019)
    with pytest.raises(PortsExhausted, match="only 19 of 20 ports are left in 20000-20019") as caught:
        pick(20, taken=[("tcp", 20003)], key="k", port_range=place)
    assert caught.value.details == {"wanted": 20, "free": 19}
    with pytest.raises(InvalidArgument, match="reserved"):
        pick(1, taken=(), key="k", preferred=32799)


def test_the_block_of_a_port_is_the_one_it_was_chosen_from() -> None:
    places = regions("docker")
    assert block_of(32801, places) == 32800
    assert block_of(34999, places) == 34990
    assert block_of(40007, places) == 40000
    assert block_of(8080, places) is None
    assert block_of(35001, regions("sprite")) == 35000


def test_a_preferred_port_is_taken_when_it_is_free() -> None:
    requests = [
        PortRequest(name="db", container=5432, preferred=5432),
        PortRequest(name="other", container=1, preferred=5432),
        PortRequest(name="cache", container=6379, preferred=6379),
        PortRequest(name="web", container=80, preferred=8080),
        PortRequest(name="odd", container=81, preferred=RESERVED_PORTS.start),
        PortRequest(name="fixed", container=82, host=9000, preferred=9001),
    ]
    busy: list[PortKey] = [("tcp", 6379)]
    taken: list[PortKey] = [("tcp", 8080)]
    found = {each.name: each for each in propose(requests, taken=taken, busy=busy, key="k", places=PLACES)}
    assert (found["db"].port, found["db"].fixed, found["db"].base) == (5432, False, None)
    assert found["fixed"].port == 9000
    for name in ("other", "cache", "web", "odd"):  # somebody has it already: a port of the block instead
        assert found[name].base is not None
        assert found[name].port in range(found[name].base or 0, (found[name].base or 0) + BLOCK)
