from __future__ import annotations

import socket
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from nexus.models.activity import Listener
from nexus.providers.listening import listeners_in

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0000 100 0 0 10 0
   1: 00000000:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0000 100 0 0 10 0
   2: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0000 100 0 0 10 0
"""
TABLE6 = """\
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 21 1 0 100
   1: 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 22 1 0 100
   2: 0000000000000000FFFF00000100007F:0052 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 23 1 0 100
"""


def test_listening_sockets_are_read_from_both_tables_and_others_are_not() -> None:
    found = {(one.port, one.address): one.local_only for one in listeners_in([TABLE, TABLE6])}
    assert found == {
        (80, "::"): False,
        (81, "::1"): True,
        (82, "127.0.0.1"): True,
        (3000, "0.0.0.0"): False,
        (8080, "127.0.0.1"): True,
    }
    assert [one.port for one in listeners_in([TABLE, TABLE6], inodes={12, 22})] == [81, 3000]
    assert listeners_in([TABLE], inodes=()) == ()


def test_this_machines_own_table_is_understood() -> None:
    with socket.socket() as listening, socket.socket() as bound:
        for one in (listening, bound):
            one.bind(("127.0.0.1", 0))
        listening.listen()
        found = listeners_in([Path("/proc/net/tcp").read_text()])
        assert Listener(port=listening.getsockname()[1], address="127.0.0.1") in found
        assert bound.getsockname()[1] not in {one.port for one in found}


@given(st.text(alphabet=st.sampled_from("0A:1 F\n\tx"), max_size=300))
def test_what_something_inside_prints_in_place_of_the_table_does_no_harm(text: str) -> None:
    assert all(1 <= one.port <= 65535 for one in listeners_in([text, TABLE + text]))


def test_lines_that_lie_about_their_width_are_passed_over() -> None:
    lines = "0: 01:0050 0 0A 0 0 0 0 0 1 1\n0: ZZZZZZZZ:0050 0 0A 0 0 0 0 0 1 1\n0: 00000000:0000 0 0A 0 0 0 0 0 1 1\n"
    assert listeners_in([lines]) == ()
