"""A real Chromium, driven over its DevTools protocol: a person who looks, clicks and types."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import re
import signal
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import anyio
from websockets.asyncio.client import ClientConnection, connect

PATIENCE = 30.0
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-proxy-server",
    # It talks to this machine and to nobody else.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
    "--remote-debugging-port=0",
)
_KEYS = {"Enter": ("\r", 13), "Tab": ("", 9), "F6": ("", 117), "ArrowRight": ("", 39), "ArrowDown": ("", 40)}


@contextmanager
def running(program: str, folder: Path) -> Generator[str, None, None]:
    """Run a browser with a profile of its own, and give the address of its DevTools."""
    folder.mkdir()
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)},
            start_new_session=True,
        )
    try:
        yield _address(process, folder / "said")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its own session: everything it started
        process.wait()


def _address(process: subprocess.Popen[bytes], said: Path) -> str:
    end = monotonic() + PATIENCE
    while monotonic() < end and process.poll() is None:
        found = re.search(r"DevTools listening on (ws://\S+)", said.read_text(errors="replace"))
        if found:
            return found[1]
        sleep(0.05)
    raise AssertionError(f"the browser did not start: {said.read_text(errors='replace')[-2000:]}")


class Tab:
    """One tab with a profile of its own, and everything that it complained about."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._session: str | None = None
        self._disturbed = False
        self.complaints: list[str] = []
        self.dialogs: list[str] = []

    async def begin(self) -> None:
        """Open it."""
        context = (await self.do("Target.createBrowserContext"))["browserContextId"]
        target = await self.do("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.do("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self.do(f"{domain}.enable")
        await self.do("Emulation.setDeviceMetricsOverride", width=1200, height=760, deviceScaleFactor=1, mobile=False)

    async def listen(self) -> None:
        """Take what the browser says, until cancelled."""
        async for message in self._socket:
            told = json.loads(message)
            if "id" in told:
                self._asked.pop(told["id"]).set_result(told)
            else:
                self._happened(told["method"], told["params"])

    def _happened(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:2000])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self._complained(params["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(params["message"])

    def _complained(self, text: str) -> None:
        # Whenever a container anywhere on this machine gets a network, Chromium gives up what it is loading.
        if "ERR_NETWORK_CHANGED" in text:
            self._disturbed = True
        else:
            self.complaints.append(text)

    async def do(self, method: str, **params: Any) -> dict[str, Any]:
        """Have the browser do something."""
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        more = {"sessionId": self._session} if self._session else {}
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params, **more}))
        with anyio.fail_after(PATIENCE):
            told = await answer
        assert "error" not in told, (method, told["error"])
        return dict(told["result"])

    async def go(self, url: str) -> None:
        """Open an address."""
        await self.do("Page.navigate", url=url)
        await self._loaded()

    async def reload(self) -> None:
        """Load the page again."""
        await self.js("window.old = true")
        await self.do("Page.reload")
        await self._loaded()

    async def _loaded(self) -> None:
        """Wait until everything of the page is there; where that was disturbed, load it once more."""
        while True:
            self._disturbed = False
            await self.until("document.readyState === 'complete' && !window.old && location.protocol !== 'about:'")
            if not self._disturbed and await self.js("location.protocol.startsWith('http')"):
                return
            await self.do("Page.reload")

    async def js(self, expression: str) -> Any:
        """Return what an expression comes to."""
        told = await self.do(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            allowUnsafeEvalBlockedByCSP=False,  # what the page may not do may not be done in its name
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Return the value of an expression once it is one."""
        try:
            with anyio.fail_after(PATIENCE):
                while not (value := await self.js(expression)):  # noqa: ASYNC110 - pages ring no bell
                    await anyio.sleep(0.05)
                return value
        except TimeoutError:
            shown = await self.js("document.body?.innerText")
            raise AssertionError(f"never: {expression}\n{shown}\n{self.complaints}") from None

    async def sees(self, text: str, *, at: str = "body") -> None:
        """Return once a text is shown."""
        await self.until(f"document.querySelector({json.dumps(at)})?.innerText.includes({json.dumps(text)})")

    async def reads(self, text: str) -> None:
        """Return once a text is on the terminal's screen."""
        await self.until(
            "[...document.querySelectorAll('.xterm-rows > div')].map((row) => row.textContent.replaceAll('\\u00a0', ' '))"
            f".join('\\n').includes({json.dumps(text)})"
        )

    async def click(self, selector: str, text: str = "") -> None:
        """Click in the middle of what is found, once it is there and can be clicked."""
        find = (
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            f".find((one) => one.offsetParent && !one.disabled && one.innerText.includes({json.dumps(text)}))"
        )
        box = await self.until(
            f"(() => {{ const box = {find}?.getBoundingClientRect();"
            " return box && { x: box.x + box.width / 2, y: box.y + box.height / 2 }; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.do("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **box)

    async def type(self, text: str) -> None:
        """Type a text, key by key."""
        for character in text:
            if character == "\n":
                await self.press("Enter")
            else:
                await self.do("Input.dispatchKeyEvent", type="keyDown", text=character, key=character)
                await self.do("Input.dispatchKeyEvent", type="keyUp", key=character)

    async def types(self) -> None:
        """Return once what is typed goes to the terminal."""
        await self.until("document.activeElement.classList.contains('xterm-helper-textarea')")

    async def press(self, key: str) -> None:
        """Press a key that is no character."""
        text, code = _KEYS[key]
        what = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        await self.do("Input.dispatchKeyEvent", **down, **what)
        await self.do("Input.dispatchKeyEvent", type="keyUp", **what)

    async def picture(self) -> bytes:
        """Return what is seen, as a PNG."""
        return base64.b64decode((await self.do("Page.captureScreenshot", format="png"))["data"])


@asynccontextmanager
async def tab(devtools: str) -> AsyncGenerator[Tab, None]:
    """Open a tab."""
    async with connect(devtools, max_size=None, proxy=None) as socket:
        opened = Tab(socket)
        async with anyio.create_task_group() as group:
            group.start_soon(opened.listen)
            await opened.begin()
            yield opened
            group.cancel_scope.cancel()
