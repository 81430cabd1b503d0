"""Starting one program: its own session and group, its own pipes or terminal, nothing else of the keeper's."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
import struct
import termios
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, NoReturn

from nexus.providers.local.keeper import frames

_SIGNALS: Final = frozenset(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}


class Order(NamedTuple):
    """What to start."""

    argv: Sequence[bytes]
    cwd: bytes
    env: Mapping[bytes, bytes]
    stdin: bool
    size: tuple[int, int] | None
    """Rows and columns of its terminal; ``None`` for pipes."""


class Child(NamedTuple):
    """What was started, and our ends of what it was given."""

    pid: int
    outputs: Mapping[int, int]
    """Descriptors to read from, and the kind of frame that carries what comes out."""
    stdin: int | None
    terminal: int | None


class NotStarted(Exception):
    """The program did not start.

    Args:
        stage: ``resources``, ``cwd``, ``program``, or ``interpreter`` (the script is there, what its first line names is not).
        number: The system's error number.
    """

    def __init__(self, stage: str, number: int) -> None:
        super().__init__(stage, number)
        self.stage = stage
        self.number = number


class Origin(NamedTuple):
    """What the keeper itself was started with and has changed since; programs get it as it was."""

    files: tuple[int, int]
    """Soft and hard limit on open files."""
    signals: frozenset[int]
    """Signals that this process catches or ignores."""

    @classmethod
    def now(cls) -> Origin:
        """Note what holds now. Called once everything that catches signals is set up."""
        changed = frozenset(number for number in _SIGNALS if signal.getsignal(number) not in {signal.SIG_DFL, None})
        return cls(files=resource.getrlimit(resource.RLIMIT_NOFILE), signals=changed)


def raise_limit(files: int) -> None:
    """Let this process have so many open files; programs are given the limit of :class:`Origin` again."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


def resize(terminal: int, rows: int, columns: int) -> None:
    """Give a terminal a size; its foreground group gets ``SIGWINCH``."""
    with contextlib.suppress(OSError):  # the terminal went away with its programs
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def start(order: Order, origin: Origin) -> Child:
    """Start a program and return once it runs in the child's place.

    Raises:
        NotStarted: When it did not; nothing is left of it.
    """
    opened: list[int] = []
    theirs: list[int] = []
    try:
        return _start(order, origin, opened, theirs)
    except NotStarted:
        _close(opened)
        raise
    except OSError as error:
        _close(opened)
        raise NotStarted("resources", error.errno or 0) from error
    finally:
        _close(theirs)


def _start(order: Order, origin: Origin, opened: list[int], theirs: list[int]) -> Child:
    terminal: int | None = None
    stdin: int | None = None
    if order.size is not None:
        terminal, slave = os.openpty()
        opened.append(terminal)
        theirs.append(slave)
        resize(terminal, *order.size)
        # Input has a descriptor of its own, so that the two directions can be waited for apart.
        stdin = os.dup(terminal)
        opened.append(stdin)
        standard = (slave, slave, slave)
        outputs = {terminal: frames.STDOUT}
    else:
        out, out_end = _pipe(opened, theirs)
        err, err_end = _pipe(opened, theirs)
        if order.stdin:
            in_end, stdin = os.pipe()
            theirs.append(in_end)
            opened.append(stdin)
        else:
            in_end = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            theirs.append(in_end)
        standard = (in_end, out_end, err_end)
        outputs = {out: frames.STDOUT, err: frames.STDERR}
    report, report_end = os.pipe()
    theirs.append(report)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _become(order, origin, standard, report_end)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(report_end)
    failure = os.read(report, 256)
    if failure:
        os.waitpid(pid, 0)
        stage, number = failure.split()
        raise NotStarted(stage.decode("ascii"), int(number))
    for descriptor in opened:
        os.set_blocking(descriptor, False)
    return Child(pid=pid, outputs=outputs, stdin=stdin, terminal=terminal)


def _pipe(opened: list[int], theirs: list[int]) -> tuple[int, int]:
    ours, other = os.pipe()
    opened.append(ours)
    theirs.append(other)
    return ours, other


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _become(order: Order, origin: Origin, standard: tuple[int, int, int], report: int) -> NoReturn:
    """In the child: become the program, or say why not. Every other descriptor of the keeper closes itself at ``execve``."""
    stage = "resources"
    try:
        os.setsid()
        if order.size is not None:
            fcntl.ioctl(standard[0], termios.TIOCSCTTY, 0)
        for number, descriptor in enumerate(standard):
            os.dup2(descriptor, number)
        # Caught signals would reset themselves, but only at execve; ignored ones (SIGPIPE in every Python) never would.
        for number in origin.signals:
            signal.signal(number, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_NOFILE, origin.files)
        stage = "cwd"
        os.chdir(order.cwd)
        stage = "program"
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        stage, number = _exec(order)
    except OSError as error:
        number = error.errno or 0
    except BaseException:  # noqa: BLE001 - a child that returned from here would be a second keeper
        number = errno.EINVAL
    os.write(report, f"{stage} {number}".encode("ascii"))
    os._exit(127)


def _exec(order: Order) -> tuple[str, int]:
    """Try every place where the program may be, and return the most telling reason why none would do."""
    program = order.argv[0]
    folders = order.env.get(b"PATH", os.defpath.encode()).split(b":")
    candidates = [program] if b"/" in program else [os.path.join(folder or b".", program) for folder in folders]  # noqa: PTH118
    stage, number = "program", errno.ENOENT
    for candidate in candidates:
        try:
            os.execve(candidate, list(order.argv), dict(order.env))  # noqa: S606 - that is what it is for
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.EACCES}:
                return "program", error.errno or 0
            there = os.path.isfile(candidate)  # noqa: PTH113
            if error.errno == errno.EACCES:
                # Not when it is merely a folder on PATH that this user may not enter.
                if there or b"/" in program:
                    stage, number = "program", errno.EACCES
            elif there and number == errno.ENOENT:
                stage = "interpreter"
    return stage, number
