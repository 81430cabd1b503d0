"""Stands beside one service: ``python -I -S -X utf8 …/keeper/supervisor.py <folder>``. Starts it again, tests it, writes its log.

Started as a command of the workspace, it detaches itself and becomes the keeper's orphan: it is frozen, thawed and ended with
everything else there. ``order.json`` in its folder says what to run, ``state.json`` what has become of it. ``SIGUSR1`` asks the
service to end, ``SIGUSR2`` kills it; on ``SIGTERM`` the keeper has told the service itself, and it is only not started again.

Run by path, like the keeper: standard library only, and small.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final, TypedDict

ORDER: Final = "order.json"
STATE: Final = "state.json"

_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 60.0
_STEADY: Final = 10.0
"""Seconds that a run has to last for the next restart to come quickly again."""
_EAGER: Final = 1.0
"""Seconds between two tests until the first one that succeeds."""
_CHUNK: Final = 65536


class Check(TypedDict):
    """How it is tested; times are seconds."""

    argv: list[str]
    interval: float
    timeout: float
    retries: int
    start_period: float


class Order(TypedDict):
    """What to run."""

    argv: list[str]
    cwd: str
    restart: str
    check: Check | None


class Supervisor:
    """One service.

    Args:
        folder: Its folder.
        order: What to run.
        write: Appends to its log.
    """

    def __init__(self, folder: str, order: Order, write: object) -> None:
        self._folder = folder
        self._order = order
        self._write = write if callable(write) else _nowhere
        self._poll = select.poll()
        self._child: subprocess.Popen[bytes] | None = None
        self._output = -1
        self._probe: subprocess.Popen[bytes] | None = None
        self._probe_ends = 0.0
        self._begun = 0.0
        self._next_start: float | None = None
        self._next_probe: float | None = None
        self._delay = _FIRST_DELAY
        self._restarts = 0
        self._failures = 0
        self._health: str | None = None
        self._exit_code: int | None = None
        self._stopping = False

    def run(self, on_started: object) -> None:
        """Supervise until the service has ended for good.

        Raises:
            OSError: When it cannot be started the first time.
        """
        receiver, sender = os.pipe()
        for end in (receiver, sender):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, lambda _number, _frame: None)
        self._poll.register(receiver, select.POLLIN)
        self._launch()
        if callable(on_started):
            on_started()
        while self._child is not None or (self._next_start is not None and not self._stopping):
            self._turn(receiver)
        self._drain()
        self._end_probe()
        self._note("exited")

    def _turn(self, receiver: int) -> None:
        for descriptor, _ in self._poll.poll(self._wait()):
            if descriptor == receiver:
                with contextlib.suppress(BlockingIOError):
                    self._signalled(os.read(receiver, 256))
            elif descriptor == self._output:
                self._take()
        now = time.monotonic()
        if self._next_start is not None and now >= self._next_start and not self._stopping:
            self._start_again()
        if self._probe is not None and now >= self._probe_ends:
            self._end_probe()
            self._probed(succeeded=False)
        elif self._probe is None and self._next_probe is not None and now >= self._next_probe:
            self._test()

    def _wait(self) -> float | None:
        """Return milliseconds until something is due."""
        due = [moment for moment in (self._next_start, self._next_probe) if moment is not None]
        due += [self._probe_ends] if self._probe is not None else []
        return max(0.0, min(due) - time.monotonic()) * 1000 + 1 if due else None

    def _signalled(self, numbers: bytes) -> None:
        if {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2} & set(numbers):
            self._stopping = True
            self._next_probe = None
        if signal.SIGUSR2 in numbers:
            self._send(signal.SIGKILL)
        elif signal.SIGUSR1 in numbers:
            self._send(signal.SIGTERM)
        self._reap()

    def _send(self, number: int) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)

    def _launch(self) -> None:
        out, end = os.pipe()
        try:
            self._child = _popen(self._order["argv"], self._order["cwd"], output=end)
        except OSError:
            os.close(out)
            raise
        finally:
            os.close(end)
        os.set_blocking(out, False)
        self._output = out
        self._poll.register(out, select.POLLIN)
        self._begun, self._next_start, self._failures = time.monotonic(), None, 0
        check = self._order["check"]
        self._health = "starting" if check is not None else None
        self._next_probe = self._begun if check is not None else None
        self._note("running")

    def _start_again(self) -> None:
        try:
            self._restarts += 1
            self._launch()
        except OSError as error:
            self._say(f"cannot be started again: {error}")
            self._exit_code, self._next_start = 127, None
            self._plan_restart()

    def _reap(self) -> None:
        if self._probe is not None and self._probe.poll() is not None:
            succeeded, self._probe = self._probe.returncode == 0, None
            self._probed(succeeded=succeeded)
        if self._child is None or self._child.poll() is None:
            return
        status = self._child.returncode
        self._exit_code = status if status >= 0 else 128 - status
        # Whatever it left in its group ends with it: the next run may need the same port.
        self._send(signal.SIGKILL)
        self._child = None
        self._drain()
        self._end_probe()
        self._next_probe, self._health = None, None
        self._say(f"ended with status {self._exit_code}")
        self._plan_restart()

    def _plan_restart(self) -> None:
        policy, _, times = self._order["restart"].partition(":")
        again = policy in {"always", "unless-stopped"} or (
            policy == "on-failure" and self._exit_code != 0 and (not times or self._restarts < int(times))
        )
        if not again or self._stopping:
            return
        if time.monotonic() - self._begun > _STEADY:
            self._delay = _FIRST_DELAY
        self._next_start = time.monotonic() + self._delay
        self._delay = min(2 * self._delay, _LONGEST_DELAY)
        self._note("restarting")

    def _test(self) -> None:
        check = self._order["check"]
        if check is None or self._child is None:
            return
        self._next_probe = None
        try:
            self._probe = _popen(check["argv"], self._order["cwd"], output=None)
        except OSError:
            self._probed(succeeded=False)
            return
        self._probe_ends = time.monotonic() + check["timeout"]

    def _end_probe(self) -> None:
        probe, self._probe = self._probe, None
        if probe is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(probe.pid, signal.SIGKILL)
            probe.wait()

    def _probed(self, *, succeeded: bool) -> None:
        check = self._order["check"]
        if check is None or self._child is None or self._stopping:
            return
        now, before = time.monotonic(), self._health
        if succeeded:
            self._health, self._failures = "healthy", 0
        elif before != "starting" or now - self._begun >= check["start_period"]:
            self._failures += 1
            if self._failures >= check["retries"]:
                self._health = "unhealthy"
        eager = self._health == "starting" and now - self._begun < check["start_period"]
        self._next_probe = now + (min(_EAGER, check["interval"]) if eager else check["interval"])
        if self._health != before:
            self._note("running")

    def _take(self) -> None:
        try:
            data = os.read(self._output, _CHUNK)
        except BlockingIOError:
            return
        if data:
            self._write(data)
        else:
            self._close_output()

    def _drain(self) -> None:
        """Take what the service printed last; what a child of its own prints after it is nobody's."""
        while self._output >= 0:
            try:
                data = os.read(self._output, _CHUNK)
            except BlockingIOError:
                data = b""
            if not data:
                self._close_output()
                return
            self._write(data)

    def _close_output(self) -> None:
        self._poll.unregister(self._output)
        os.close(self._output)
        self._output = -1

    def _say(self, text: str) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._write(f"{now} nexus: {text}\n".encode("utf-8", "replace"))

    def _note(self, state: str) -> None:
        """Say on disk what has become of it; a reader sees the old file or the new one."""
        content = {**identity(), "state": state, "health": self._health, "exit_code": self._exit_code}
        replace(f"{self._folder}/{STATE}", content)


def _nowhere(data: bytes) -> None:
    del data


def _popen(argv: Sequence[str], cwd: str, *, output: int | None) -> subprocess.Popen[bytes]:
    """Start a program in a session and group of its own."""
    target = subprocess.DEVNULL if output is None else output
    return subprocess.Popen(  # noqa: S603 - what the user's configuration says
        list(argv), cwd=cwd, stdin=subprocess.DEVNULL, stdout=target, stderr=target, start_new_session=True
    )


def identity() -> dict[str, object]:
    """Return which process this is."""
    with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 - pathlib costs 5 ms
        fields = file.read().rpartition(b")")[2].split()
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
        boot = file.read().strip()
    return {"pid": os.getpid(), "start_time": int(fields[19]), "boot_id": boot}


def replace(path: str, content: Mapping[str, object]) -> None:
    """Write a file of JSON anew, at one stroke. A folder that was removed meanwhile needs none."""
    temporary = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(temporary, flags, 0o600)
        try:
            os.write(descriptor, json.dumps(content).encode("utf-8"))
        finally:
            os.close(descriptor)
        os.replace(temporary, path)  # noqa: PTH105


def main(folder: str) -> int:
    """Detach, supervise, and report the start to whoever asked for it: status 0, or the reason on standard error."""
    ready, end = os.pipe()
    if os.fork():
        os.close(end)
        with os.fdopen(ready, "rb") as answer:
            said = answer.read()
        sys.stderr.buffer.write(said.removeprefix(b"ok"))
        return 0 if said == b"ok" else 1
    os.close(ready)
    os.setsid()
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    sys.path.insert(0, os.path.abspath(__file__).rpartition("/")[0])  # noqa: PTH100
    from log import Log  # type: ignore[import-not-found]  # noqa: PLC0415 - a neighbour, found by path

    with open(f"{folder}/{ORDER}", encoding="utf-8") as file:  # noqa: PTH123
        order: Order = json.load(file)
    log = Log(folder)  # also takes the standard descriptors over, which the asker waits for
    try:
        Supervisor(folder, order, log.write).run(lambda: _tell(end, b"ok"))
    except OSError as error:
        _tell(end, f"{order['argv'][0]}: {error.strerror or error}".encode("utf-8", "replace"))
    return 0


def _tell(end: int, word: bytes) -> None:
    with contextlib.suppress(OSError):  # the asker may have been cancelled
        os.write(end, word)
        os.close(end)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
