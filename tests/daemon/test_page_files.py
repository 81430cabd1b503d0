"""What of the page is served, to whom, and with which headers; how it behaves in a browser is told in ``tests/daemon/page``."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from anyio import to_thread

import nexus
from nexus.config import DaemonSettings
from nexus.config.daemon import TlsFiles
from nexus.daemon.handshake import HandshakePolicy, PageFile, Reply, Upgrade, judge
from nexus.daemon.page import PAGE_FILES, media_type, page_file
from nexus.daemon.plan import page_address, tcp_policy, unix_policy
from nexus.errors import WrongLoop
from tests.daemon.conftest import Echo, Listening
from tests.workbench import Bench, make_bench

FOLDER = Path(nexus.__file__).parent / "daemon" / "page"
SHOWN = HandshakePolicy(page="http")
HOST = ("Host", "127.0.0.1:8080")
SOCKET = ("Sec-WebSocket-Protocol", "nexus.v1")
OWN = sorted(FOLDER.glob("*.js"))


def get(path: str, *headers: tuple[str, str], policy: HandshakePolicy = SHOWN) -> Upgrade | PageFile | Reply:
    return judge("GET", path, headers or [HOST], policy)


def status(answer: Upgrade | PageFile | Reply) -> int:
    return answer.status if isinstance(answer, Reply) else 101 if isinstance(answer, Upgrade) else 200


@pytest.mark.parametrize("path", PAGE_FILES)
def test_without_being_asked_for_there_is_no_page(path: str) -> None:
    assert status(get(path, policy=HandshakePolicy())) == 404
    assert get(path) == PageFile(name=PAGE_FILES[path])
    assert page_file(PAGE_FILES[path])


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/index.html",
        "/page/../handshake.py",
        "/page/%2e%2e/handshake.py",
        "/page//page.js",
        "/page/__init__.py",
        "/page/vendor/VENDORED.md",
        "/page/vendor/../page.js",
        "/PAGE/page.js",
        "//",
        "/index.html",
        "/favicon.ico",
    ],
)
def test_only_its_files_are_served_each_by_one_path(path: str) -> None:
    assert status(get(path)) == 404


def test_its_own_origin_may_connect_and_no_other() -> None:
    def connects(origin: str, host: tuple[str, str] = HOST, policy: HandshakePolicy = SHOWN) -> int:
        return status(judge("GET", "/v1/rpc", [host, SOCKET, ("Origin", origin)], policy))

    assert connects("http://127.0.0.1:8080") == 101
    assert connects("http://LOCALHOST:8080", ("Host", "localhost:8080")) == 101
    assert connects("http://127.0.0.1:8080", policy=HandshakePolicy()) == 403
    assert connects("https://127.0.0.1:8080") == 403
    assert connects("http://127.0.0.1:3000") == 403  # a program in a workspace
    assert connects("http://127.0.0.1") == 403
    assert connects("http://localhost:8080") == 403
    assert connects("null") == 403
    assert connects("http://evil.example:8080", ("Host", "evil.example:8080")) == 421  # a name that was rebound
    assert connects("https://127.0.0.1:8080", policy=HandshakePolicy(page="https")) == 101


def test_names_and_methods_are_judged_for_it_as_for_everything() -> None:
    assert status(get("/", ("Host", "evil.example"))) == 421
    assert status(get("/", HOST, HOST)) == 400
    assert status(judge("POST", "/", [HOST], SHOWN)) == 405


def test_the_settings_say_whether_there_is_one() -> None:
    files = TlsFiles(cert=Path("/c"), key=Path("/k"))
    assert tcp_policy(DaemonSettings()).page is None
    assert tcp_policy(DaemonSettings(page=True)).page == "http"
    assert tcp_policy(DaemonSettings(page=True, tls=files)).page == "https"
    assert unix_policy(DaemonSettings(page=True)).page is None
    assert page_address("wss://dev.example.com:8080/v1/rpc", "x.y") == "https://dev.example.com:8080/#token=x.y"
    assert page_address("ws://[::1]:8080") == "http://[::1]:8080/"


async def test_what_is_said_with_every_file(listening: Listening) -> None:
    async with listening(policy=SHOWN) as echo:
        for path, name in PAGE_FILES.items():
            head, body = await to_thread.run_sync(_fetch, echo, path)
            assert head.startswith("HTTP/1.1 200 ")
            assert body == page_file(name)
            said = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
            assert said["Content-Type"] == media_type(name)
            assert said["X-Content-Type-Options"] == "nosniff"
            assert said["Referrer-Policy"] == "no-referrer"
            assert said["Cache-Control"] == "no-store"
            assert said["Cross-Origin-Resource-Policy"] == said["Cross-Origin-Opener-Policy"] == "same-origin"
            rules = dict(rule.split(" ", 1) for rule in said["Content-Security-Policy"].split("; "))
            assert {rules[name] for name in ("default-src", "base-uri", "form-action", "frame-ancestors")} == {"'none'"}
            assert rules["script-src"] == rules["connect-src"] == rules["img-src"] == "'self'"
            assert rules["require-trusted-types-for"] == "'script'"
            assert "Access-Control-Allow-Origin" not in said


def _fetch(echo: Echo, path: str) -> tuple[str, bytes]:
    with echo.raw() as plain:
        plain.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = b"".join(iter(lambda: plain.recv(1 << 16), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode(), body


@pytest.fixture
def bench(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return make_bench("mock", repository, tmp_path, request)


async def test_its_address_holds_a_token_for_what_it_does(bench: Bench) -> None:
    async with bench.open() as nx, nexus.Daemon(nx, page=True) as daemon:
        address, token = daemon.page_url(ttl="5m").split("#token=")
        assert address == daemon.url.replace("ws://", "http://").replace("v1/rpc", "")
        who = daemon.tokens.verify(token)
        assert who.scopes == {"workspace:read", "workspace:write", "terminal"}
        assert daemon.page_url("mine").endswith("/#token=mine")
    async with bench.open() as nx, nexus.Daemon(nx) as daemon:
        with pytest.raises(WrongLoop, match="has no page"):
            daemon.page_url()


@pytest.mark.parametrize("script", OWN, ids=lambda path: path.name)
def test_scripts_set_text_only_and_load_what_is_served(script: Path) -> None:
    text = script.read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc", text)
    for wanted in re.findall(r'(?:from|import\()\s*"\./([^"]+)"', text):
        assert f"/page/{wanted}" in PAGE_FILES
    assert f"/page/{script.name}" in PAGE_FILES


def test_programs_of_others_are_what_they_are_said_to_be() -> None:
    told = (FOLDER / "vendor" / "VENDORED.md").read_text()
    rows = re.findall(r"\| `([^`]+)` \| .*?`(LICENSE[^`]+)` \| `([0-9a-f]{64})`", told)
    vendored = {path.name for path in (FOLDER / "vendor").iterdir()}
    assert {name for name, _, _ in rows} | {terms for _, terms, _ in rows} | {"VENDORED.md"} == vendored
    for name, _, digest in rows:
        assert hashlib.sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == digest
