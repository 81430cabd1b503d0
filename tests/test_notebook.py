from __future__ import annotations

import asyncio
import atexit
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import nexus
from nexus import notebook
from nexus.errors import ExecFailed, Unsupported
from nexus.models.activity import PortView
from nexus.models.display import LINES, fields, last_lines, output, plain, table
from nexus.models.execution import ExecResult
from nexus.models.ids import ExecId
from nexus.models.ports import OpenedPort, PortMapping
from tests.workbench import Bench, make_bench


@pytest.fixture
def shell() -> Iterator[None]:
    """IPython itself, as far as it shows things: it keeps no history, and ends with the test."""
    made = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    yield
    made.atexit_operations()  # type: ignore[no-untyped-call]  # the library has no types here
    atexit.unregister(made.atexit_operations)
    InteractiveShell.clear_instance()


@pytest.fixture
def bench(request: pytest.FixtureRequest, repository: Any, tmp_path: Any) -> Bench:
    return make_bench("mock", repository, tmp_path, request)


def test_everything_is_escaped() -> None:
    evil = "<script>alert('x')</script>"
    for shown in (fields(evil, {evil: evil}), table(evil, [evil], [[evil]]), output(evil, evil)):
        assert "<script" not in shown
        assert "&lt;script&gt;" in shown


def test_what_a_terminal_would_act_on_is_left_out() -> None:
    assert plain("\x1b[31mred\x1b[0m \x1b]0;title\x07a\x08b\r\n10%\r20%\r\nend\x00") == "red ab\n20%\nend"
    many = "\n".join(str(number) for number in range(LINES + 5))
    text, cut = last_lines(many)
    assert cut
    assert text.split("\n") == [str(number) for number in range(5, LINES + 5)]
    assert last_lines("one\n") == ("one", False)


def test_values_show_themselves_text_first() -> None:
    result = ExecResult(exec_id=ExecId("x"), argv=("echo", "<b>"), exit_code=3, output_bytes=b"<i>\n", duration=1.25)
    shown = result._repr_mimebundle_()
    assert list(shown) == ["text/plain", "text/html"]
    assert shown["text/plain"] == "echo <b> — status 3 after 1.2 s\n<i>"
    assert "&lt;i&gt;" in shown["text/html"]
    opened = OpenedPort(container_port=80, host_port=40000, url="http://127.0.0.1:40000")
    assert "http://127.0.0.1:40000" in opened._repr_mimebundle_()["text/html"]
    mapping = PortMapping(name="db", container_port=5432, host_port=32803)
    assert mapping._repr_mimebundle_()["text/plain"] == "db: 127.0.0.1:32803/tcp"
    ports = notebook.Table([PortView(name="web", container_port=80, url="http://x", listening=True)], caption="ports")
    assert "<td>http://x</td><td>yes</td>" in ports._repr_mimebundle_()["text/html"]
    assert repr(ports).startswith("web  80  http://x  yes")


async def test_output_is_shown_while_it_comes_and_not_too_often(bench: Bench, shell: None) -> None:
    async with bench.open() as nx, nx.create("a") as ws:
        assert "text/html" in ws._repr_mimebundle_()
        with capture_output() as seen:
            done = await notebook.run(ws, "sh", "-c", "echo line 1; echo line 2; echo line 3; exit 4")
            listed = notebook.Table(await nx.list())
        assert (done.exit_code, done.stdout) == (4, "line 1\nline 2\nline 3\n")
        last = seen.outputs[-1].data
        assert "status 4 after" in last["text/html"]
        assert "line 3" in last["text/html"]
        assert "a  running  mock  nexus/a" in repr(listed)
        with capture_output() as seen, pytest.raises(ExecFailed):
            await notebook.run(ws, "sh", "-c", "exit 1", check=True)


async def test_a_flood_is_shown_ten_times_a_second(shell: None, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = 0

    def draw() -> dict[str, str]:
        nonlocal drawn
        drawn += 1
        return {"text/plain": str(drawn)}

    monkeypatch.setattr(notebook, "INTERVAL", 3600.0)
    with capture_output() as seen:
        live = notebook.Live(draw)
        for _ in range(10_000):
            live.changed()
            await asyncio.sleep(0)
        assert drawn == 1, "the next one is not due for an hour"
        live.close()
    assert [one.data["text/plain"] for one in seen.outputs] == ["1", "2"]


async def test_progress_shows_how_it_ends(bench: Bench, shell: None) -> None:
    with capture_output() as seen:
        with notebook.progress("make <a>") as report:
            report("image", "pulling\x1b[2K", 3, 10)
        with pytest.raises(nexus.NexusError), notebook.progress("again") as report:
            raise nexus.NexusError("no")
    shown = [one.data["text/html"] for one in seen.outputs]
    assert any("make &lt;a&gt;: done in" in each and "pulling 3/10" in each for each in shown)
    assert "again: failed in" in shown[-1]


async def test_without_ipython_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(Unsupported) as caught, notebook.progress("x"):
        pass
    assert "pip install ipython" in (caught.value.hint or "")
