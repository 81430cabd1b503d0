from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.daemon.handshake import (
    MAX_HEADER_BYTES,
    HandshakePolicy,
    PageFile,
    Reply,
    Upgrade,
    bearer_subprotocol,
    judge,
)

TOKEN = "eyJ0.eyJz.c2ln-_"
GOOD = [("Host", "127.0.0.1:8080"), ("Sec-WebSocket-Protocol", "nexus.v1")]
NOBODY = HandshakePolicy()


def ask(
    *more: tuple[str, str], target: str = "/v1/rpc", policy: HandshakePolicy = NOBODY
) -> Upgrade | PageFile | Reply:
    names = {name.lower() for name, _ in more}
    return judge("GET", target, [*(pair for pair in GOOD if pair[0].lower() not in names), *more], policy)


def status(answer: Upgrade | PageFile | Reply) -> int:
    return answer.status if isinstance(answer, Reply) else 101


def test_a_program_on_this_machine_is_upgraded() -> None:
    assert ask() == Upgrade(subprotocol="nexus.v1", token=None)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "http://localhost",
        "http://127.0.0.1:8080",
        "https://good.example.evil.example",
    ],
)
def test_a_web_page_is_refused(origin: str) -> None:
    answer = ask(("Origin", origin), policy=HandshakePolicy(origins=frozenset({"https://good.example"})))

    assert isinstance(answer, Reply)
    assert answer.status == 403
    assert "origin" in (answer.why or "")


def test_a_web_page_that_is_listed_passes() -> None:
    policy = HandshakePolicy(origins=frozenset({"https://Good.example"}))

    assert status(ask(("Origin", "https://good.example"), policy=policy)) == 101
    assert status(ask(("Origin", "https://good.example"), ("Origin", "https://good.example"), policy=policy)) == 403


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:80", "[::1]:8080", "a.localhost", "localhost."],
)
def test_names_of_this_machine(host: str) -> None:
    assert status(ask(("Host", host))) == 101


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "notlocalhost"),
        *(
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "127.1",
            "2130706433",
            "",
            "a b",
            "localhost:",
            "localhost:x",
            "user@localhost",
        ),
        *("localhost, evil.example", "\N{LATIN SMALL LETTER DOTLESS I}.localhost", "[::1", "::1"),
    ],
)
def test_a_rebound_name_is_refused(host: str) -> None:
    assert status(ask(("Host", host))) == 421


def test_one_host_header_no_more_no_less() -> None:
    assert status(judge("GET", "/v1/rpc", GOOD[1:], NOBODY)) == 400
    assert status(judge("GET", "/v1/rpc", [GOOD[0], ("host", "localhost"), GOOD[1]], NOBODY)) == 400


def test_configured_names() -> None:
    policy = HandshakePolicy(domains=frozenset({"dev.Example.com", ".lab.example.com", "10.0.0.1"}))
    for host in ("dev.example.com:443", "a.b.lab.example.com", "10.0.0.1", "localhost"):
        assert status(ask(("Host", host), policy=policy)) == 101
    for host in ("example.com", "lab.example.com", "xlab.example.com", "a.dev.example.com"):
        assert status(ask(("Host", host), policy=policy)) == 421


def test_no_host_is_needed_where_no_browser_comes() -> None:
    policy = HandshakePolicy(any_host=True)

    assert status(judge("GET", "/v1/rpc", GOOD[1:], policy)) == 101
    assert status(ask(("Origin", "http://a.example"), policy=policy)) == 403


def test_health_says_only_ok_and_everything_else_is_not_there() -> None:
    assert ask(target="/healthz") == Reply(status=200, body="ok\n")
    assert ask(target="/healthz?x=1") == Reply(status=200, body="ok\n")
    for target in ("/", "/v1", "/v1/rpc/", "//v1/rpc", "/V1/RPC", "/v1/rpc/../x", "/healthz/", "*", ""):
        assert status(ask(target=target)) == 404
    assert status(ask(("Host", "evil.example"), target="/healthz")) == 421
    assert status(ask(("Origin", "https://evil.example"), target="/healthz")) == 403
    assert status(judge("POST", "/healthz", GOOD, NOBODY)) == 405


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_token_in_a_header(scheme: str) -> None:
    assert ask(("Authorization", f"{scheme} {TOKEN}")) == Upgrade(token=TOKEN)


def test_a_token_in_a_subprotocol_is_never_echoed() -> None:
    offered = f"{bearer_subprotocol(TOKEN)}, nexus.v1"

    assert ask(("Sec-WebSocket-Protocol", offered)) == Upgrade(subprotocol="nexus.v1", token=TOKEN)


def test_the_header_comes_first() -> None:
    offered = f"nexus.v1, {bearer_subprotocol('other')}"

    assert ask(("Sec-WebSocket-Protocol", offered), ("Authorization", f"Bearer {TOKEN}")) == Upgrade(token=TOKEN)


@pytest.mark.parametrize("query", [f"?token={TOKEN}", f"?access_token={TOKEN}", f"?Authorization=Bearer%20{TOKEN}"])
def test_a_token_in_the_query_is_not_read(query: str) -> None:
    assert ask(target=f"/v1/rpc{query}") == Upgrade(token=None)


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", f"Basic {TOKEN}")],
        [("Authorization", "Bearer")],
        [("Authorization", f"Bearer {TOKEN} {TOKEN}")],
        [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")],
        [("Sec-WebSocket-Protocol", "nexus.v1, nexus.bearer.")],
        [("Sec-WebSocket-Protocol", "nexus.v1, nexus.bearer.!!")],
        [("Sec-WebSocket-Protocol", "nexus.v1, nexus.bearer._w")],
        [("Sec-WebSocket-Protocol", f"nexus.v1, {bearer_subprotocol('a')}, {bearer_subprotocol('b')}")],
    ],
    ids=str,
)
def test_what_is_no_token_is_refused_without_a_word_of_it(headers: list[tuple[str, str]]) -> None:
    answer = ask(*headers)

    assert isinstance(answer, Reply)
    assert answer.status == 401
    assert TOKEN not in f"{answer.body}{answer.why}"


def test_the_protocol_has_to_be_offered() -> None:
    assert status(ask(("Sec-WebSocket-Protocol", "graphql-ws"))) == 400
    assert status(judge("GET", "/v1/rpc", GOOD[:1], NOBODY)) == 400


def test_headers_have_a_size() -> None:
    assert status(ask(("X", "y" * MAX_HEADER_BYTES))) == 431
    assert status(ask(target="/v1/rpc?" + "y" * MAX_HEADER_BYTES)) == 431


@given(
    method=st.text(max_size=8),
    target=st.text(max_size=40),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["Host", "Origin", "Authorization", "Sec-WebSocket-Protocol", "X"]), st.text(max_size=40)
        ),
        max_size=6,
    ),
)
def test_whatever_comes_is_answered_and_nothing_foreign_is_upgraded(
    method: str, target: str, headers: list[tuple[str, str]]
) -> None:
    answer = judge(method, target, headers, NOBODY)

    if isinstance(answer, Upgrade):
        assert "Origin" not in dict(headers)
        assert answer.subprotocol == "nexus.v1"
    else:
        assert isinstance(answer, Reply)  # nobody asked for the page
        assert 200 <= answer.status < 500
        assert "\n" not in (answer.why or "")
