"""The page in a real browser: what a person does with it, and what strangers cannot."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

import nexus
from tests.daemon.page.browser import tab
from tests.workbench import Bench, make_bench

pytestmark = pytest.mark.slow

EVIL = "<img src=x onerror=window.canary=1><script>window.canary=2</script>"
CANARY = "window.canary === undefined && document.querySelectorAll('img, #desk script').length === 0"


@pytest.fixture
def bench(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return make_bench("local", repository, tmp_path, request)


async def say_in_log(workspace: nexus.Workspace, text: str) -> None:
    """What is printed in the background when its command has ended goes to the log."""
    script = f"(while [ ! -e go ]; do sleep 0.01; done; rm go; echo '{text}') &"
    await workspace.exec("sh", "-c", script)
    await workspace.exec("touch", "go")


async def test_workspaces_ports_logs_and_a_terminal(bench: Bench, devtools: str) -> None:
    bench.extra = {"ports": {"web": {"container": 3000}}}
    async with (
        bench.open() as nx,
        nexus.Daemon(nx, page=True) as daemon,
        nx.create("one") as one,
        nx.create("two") as two,
    ):
        await two.stop()
        async with tab(devtools) as page:
            await page.go(daemon.page_url())
            await page.sees("two", at="#workspaces")
            assert await page.js("location.href") == daemon.page_url("x").split("#", maxsplit=1)[0]

            await page.click("#workspaces button", "two")
            await page.click("#actions button", "Start")
            await page.sees("running", at="#facts")
            assert (await nx.get("two")).status == "running"
            await two.pause()  # somewhere else: the page is told
            await page.sees("paused", at="#facts")
            await page.click("#actions button", "Resume")
            await page.sees("running", at="#facts")

            await page.click("#workspaces button", "one")
            await page.click("#terminal-new")
            await page.types()
            await page.type("echo $((6*7))-is-the-answer\n")
            await page.reads("42-is-the-answer")
            (known,) = await one.terminals.list()
            shown = await page.js("document.querySelectorAll('.xterm-rows > div').length")
            assert known.size.rows == shown

            await page.click("[role=tab]", "Ports")
            await page.sees("3000", at="#ports")
            url = one.ports["web"].url
            assert await page.until("document.querySelector('#ports a')?.getAttribute('href')") == f"{url}/"

            await page.click("[role=tab]", "Log")
            await page.sees("following", at="#log-state")
            await say_in_log(one, "said-in-the-background")
            await page.sees("said-in-the-background", at="#log")
            assert page.complaints == []


@pytest.mark.docker
async def test_a_workspace_in_a_container(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest, devtools: str
) -> None:
    bench = make_bench("docker", repository, tmp_path, request)
    bench.extra = {"ports": {"web": {"container": 3000}}}
    async with (
        bench.open() as nx,
        nexus.Daemon(nx, page=True) as daemon,
        nx.create("one") as one,
        tab(devtools) as page,
    ):
        await page.go(daemon.page_url())
        await page.click("#workspaces button", "one")
        await page.sees("running", at="#facts")
        await page.click("#terminal-new")
        await page.types()
        await page.type("echo in-$((6*7))-$(hostname)\n")
        inside = (await one.exec("hostname")).stdout.strip()
        await page.reads(f"in-42-{inside}")
        await page.type("mkdir /tmp/www; httpd -p 3000 -h /tmp/www\n")
        await nx.wait_port("one", 3000)
        await page.click("[role=tab]", "Ports")
        url = one.ports["web"].url
        assert await page.until("document.querySelector('#ports a')?.getAttribute('href')") == f"{url}/"
        await page.click("#actions button", "Pause")
        await page.sees("paused", at="#facts")
        assert (await nx.get("one")).status == "paused"
        await page.click("#actions button", "Resume")
        await page.sees("running", at="#facts")
        assert page.complaints == []


async def test_it_comes_back_by_itself(bench: Bench, devtools: str) -> None:
    async with (
        bench.open() as nx,
        nexus.Daemon(nx, page=True) as daemon,
        nx.create("one") as one,
        tab(devtools) as page,
    ):
        await page.go(daemon.page_url())
        await page.click("#terminal-new")
        await page.types()
        await page.type("echo first-$((1+1))\n")
        await page.reads("first-2")
        await page.click("[role=tab]", "Log")
        await page.sees("following", at="#log-state")

        await page.click("[role=tab]", "Terminal")
        await page.click("#screen")
        daemon.dismiss()
        await page.sees("trying again", at="#line")
        await page.type("echo kept-$((2+3)) >> kept\n")  # while there is no connection
        await page.sees("Connected", at="#line")
        await page.type("echo and-$((3+3))\n")
        await page.reads("and-6")
        assert await one.fs.read_text("kept") == "kept-5\n"  # once
        await one.fs.remove("kept")
        await page.click("[role=tab]", "Log")
        await say_in_log(one, "after-the-cut")
        await page.sees("after-the-cut", at="#log")
        await page.click("[role=tab]", "Terminal")
        await page.click("#screen")
        await page.type("echo second-$((1+2))\n")
        await page.reads("second-3")
        seen = await page.js("document.querySelector('.xterm-rows').textContent.split('first-2').length - 1")
        assert seen == 1

        await page.reload()  # the tab keeps the token; the terminal shows again what it showed
        await page.reads("first-2")
        await page.reads("second-3")
        assert len(await one.terminals.list()) == 1


async def test_one_types_and_others_look_on(bench: Bench, devtools: str) -> None:
    async with (
        bench.open() as nx,
        nexus.Daemon(nx, page=True) as daemon,
        nx.create("one") as one,
        one.terminals.open("sh", size=nexus.Pty(rows=20, cols=90)) as held,
        tab(devtools) as page,
    ):
        await page.go(daemon.page_url())
        await page.until("document.querySelectorAll('.xterm-rows > div').length === 20")
        await page.click("#screen")
        await page.type("echo lost\n")
        await held.write(b"echo from-$((40+2))\n")
        await page.reads("from-42")
        assert "lost" not in await page.js("document.querySelector('.xterm-rows').textContent")

        await page.click("#terminal-take")
        await page.types()
        await page.type("echo taken-$((1+1))\n")
        await page.reads("taken-2")
        await page.until("document.getElementById('terminal-take').hidden")
        assert held.role == "viewer"


async def test_whoever_looks_on_types_once_the_other_has_left(bench: Bench, devtools: str) -> None:
    async with (
        bench.open() as nx,
        nexus.Daemon(nx, page=True) as daemon,
        nx.create("one") as one,
        tab(devtools) as page,
    ):
        held = await one.terminals.open("sh")
        await page.go(daemon.page_url())
        await page.until("!document.getElementById('terminal-take').hidden")
        await held.detach()
        await page.until("document.getElementById('terminal-take').hidden")
        await page.click("#screen")
        await page.type("echo mine-$((1+1))\n")
        await page.reads("mine-2")


async def test_names_logs_and_titles_are_text(bench: Bench, devtools: str) -> None:
    async with (
        bench.open() as nx,
        nexus.Daemon(nx, page=True) as daemon,
        nx.create("one", display_name=EVIL) as one,
        tab(devtools) as page,
    ):
        await page.go(daemon.page_url())
        await page.sees(EVIL, at="#name")
        await page.sees(EVIL, at="#workspaces")
        opened = await one.terminals.open(
            "sh", "-c", f"printf '\\033]2;%s\\007%s\\n' '{EVIL}' '{EVIL}'; cat", name="<i>x"
        )
        await page.reload()
        await page.sees(EVIL, at="#terminal-title")
        await page.reads("<script>window.canary=2")
        assert "<i>x" in await page.js("document.getElementById('terminals').innerText")
        await page.click("[role=tab]", "Log")
        await page.sees("following", at="#log-state")
        await say_in_log(one, EVIL)
        await page.sees(EVIL, at="#log")
        assert await page.js(CANARY)
        assert page.dialogs == []
        assert page.complaints == []

        # Were there a mistake in the page, what a stranger wrote would run all the same no script.
        blocked = await page.js(
            "(() => { try { document.body.innerHTML = '<b>'; return ''; } catch (error) { return error.name; } })()"
        )
        assert blocked == "TypeError"
        assert (
            await page.js("(() => { try { return eval('1'); } catch (error) { return error.name; } })()") == "EvalError"
        )
        await opened.kill()


async def test_by_keyboard(bench: Bench, devtools: str) -> None:
    async with (
        bench.open() as nx,
        nexus.Daemon(nx, page=True) as daemon,
        nx.create("one"),
        nx.create("two"),
        tab(devtools) as page,
    ):
        await page.go(daemon.page_url())
        await page.sees("two", at="#workspaces")
        await page.click("#terminal-new")
        await page.types()
        await page.press("F6")
        assert await page.js("document.activeElement.id") == "tab-terminal"
        await page.press("ArrowRight")
        assert await page.js("document.activeElement.id") == "tab-log"
        assert await page.js("document.getElementById('panel-log').hidden") is False
        await page.js("document.querySelector('#workspaces button').focus()")
        await page.press("ArrowDown")
        await page.press("Enter")
        await page.sees("two", at="#name")


async def test_a_token_that_does_not_hold(bench: Bench, devtools: str) -> None:
    async with bench.open() as nx, nexus.Daemon(nx, page=True) as daemon, tab(devtools) as page:
        await page.go(daemon.page_url("no.such.token"))
        await page.sees("does not hold", at="#entry")
        assert await page.js("sessionStorage.length") == 0
        await page.click("#entry input")
        await page.do("Input.insertText", text=daemon.page_url())
        await page.press("Enter")
        await page.sees("Connected", at="#line")
        assert "token" not in await page.js("location.href")

        daemon.tokens.rotate(forget=True)  # every token is void now
        daemon.dismiss()
        await page.sees("does not hold", at="#entry")


class _Foreign(http.server.BaseHTTPRequestHandler):
    """The page of a stranger, on another port of this machine."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>foreign</title>")

    def log_message(self, *_: object) -> None: ...


@contextmanager
def foreign() -> Generator[str, None, None]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Foreign)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _connects(url: str, protocols: list[str]) -> str:
    return (
        f"new Promise((done) => {{ const socket = new WebSocket({json.dumps(url)}, {json.dumps(protocols)});"
        " socket.onopen = () => done('open'); socket.onerror = () => done('refused'); })"
    )


async def test_pages_of_strangers_do_not_come_in(bench: Bench, devtools: str) -> None:
    async with bench.open() as nx, nexus.Daemon(nx, page=True) as daemon, tab(devtools) as page:
        asks = _connects(daemon.url, ["nexus.v1"])
        own = daemon.page_url("x").split("#", maxsplit=1)[0]
        with foreign() as stranger:
            await page.go(stranger)
            await page.until("document.title === 'foreign'")
            assert await page.js(asks) == "refused"
            frame = f"Object.assign(document.createElement('iframe'), {{ src: {json.dumps(own)} }})"
            await page.js(
                f"new Promise((done) => {{ const one = {frame}; one.onload = done; document.body.append(one); }})"
            )
            assert any("frame-ancestors" in text for text in page.complaints)
            script = f"Object.assign(document.createElement('script'), {{ src: {json.dumps(own + 'page/rpc.js')} }})"
            loaded = f"new Promise((done) => {{ const one = {script}; one.onload = () => done('loaded');"
            assert (
                await page.js(f"{loaded} one.onerror = () => done('blocked'); document.body.append(one); }})")
                == "blocked"
            )
        await page.go(own)
        await page.sees("A token is needed")
        await page.until(
            f"({asks}).then((answer) => answer === 'open')"
        )  # the same without a stranger's page around it
