from __future__ import annotations

import pytest

from nexus.models.activity import Listener, PortView
from nexus.models.ports import PortMapping, Visibility
from nexus.workspace.listening import join


def mapping(**changes: object) -> PortMapping:
    given = {"name": "web", "container_port": 3000, "host_port": 32801, "url": "http://127.0.0.1:32801", **changes}
    return PortMapping.model_validate(given)


def view(mapped: PortMapping, *listeners: Listener, translated: bool) -> PortView:
    return join([mapped], listeners, translated=translated)[0]


def test_where_ports_are_translated_programs_listen_on_the_number_inside() -> None:
    inside = Listener(port=3000)
    assert view(mapping(), inside, translated=True).listening is True
    assert view(mapping(), translated=True).listening is False
    assert view(mapping(), Listener(port=32801), translated=True).listening is False
    assert join([mapping()], None, translated=True)[0].listening is None
    assert view(mapping(protocol="udp"), inside, translated=True).listening is None


def test_where_they_are_not_programs_listen_on_the_host_port_itself() -> None:
    seen = view(mapping(), Listener(port=32801, address="127.0.0.1"), translated=False)
    assert (seen.listening, seen.container_port, seen.host_port) == (True, 3000, 32801)
    assert view(mapping(), Listener(port=3000), translated=False).listening is False


@pytest.mark.parametrize(
    ("translated", "visibility", "address", "note"),
    [
        (True, "private", "0.0.0.0", ""),
        (True, "private", "127.0.0.1", "let it listen on 0.0.0.0"),
        (True, "public", "::1", "let it listen on 0.0.0.0"),
        (False, "private", "127.0.0.1", ""),
        (False, "private", "0.0.0.0", "other machines may reach"),
        (False, "public", "127.0.0.1", "is public, but listens on this machine's loopback address only"),
        (False, "public", "::", ""),
    ],
)
def test_what_stands_in_the_way_is_said(translated: bool, visibility: Visibility, address: str, note: str) -> None:
    port = 3000 if translated else 32801
    told = view(mapping(visibility=visibility), Listener(port=port, address=address), translated=translated).note
    assert note in told
    assert bool(told) is bool(note)


def test_ports_that_nobody_declared_come_last_with_what_can_be_done() -> None:
    web, other = join([mapping()], [Listener(port=5173), Listener(port=3000)], translated=True)
    assert (web.name, other.name, other.host_port, other.listening) == ("web", None, None, True)
    assert "declare it under 'ports'" in other.note
    found = join([], [Listener(port=9, address="::1"), Listener(port=7, address="10.0.0.5")], translated=False)
    assert [one.url for one in found] == ["http://10.0.0.5:7", "http://127.0.0.1:9"]
