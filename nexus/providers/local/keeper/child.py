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
from typing import Final, NamedTuple, TypeAlias

from nexus.providers.local.keeper import frames

Action: TypeAlias = tuple[int, int, int] | tuple[int, int, str, int, int]
"""What ``posix_spawn`` does to descriptors in the child: a copy, or a file to open."""

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

    Not by ``fork``: copying this interpreter's memory map, and touching the copies, takes longer than everything else about a
    short command. The child borrows the memory until it has become the program (``posix_spawn``).

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
        # A leader of a session without a terminal that opens one has it as its own from then on.
        actions: list[Action] = [(os.POSIX_SPAWN_OPEN, 0, os.ttyname(slave), os.O_RDWR, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, 0, number) for number in (1, 2)]
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
        actions = [(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate((in_end, out_end, err_end))]
        outputs = {out: frames.STDOUT, err: frames.STDERR}
    pid = _spawn(order, origin, actions)
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


def _spawn(order: Order, origin: Origin, actions: Sequence[Action]) -> int:
    """Spawn it with the folder and the limit that are its own: for that moment they are ours, and nothing else runs here."""
    home = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    ours = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        try:
            os.chdir(order.cwd)
        except OSError as error:
            raise NotStarted("cwd", error.errno or 0) from error
        resource.setrlimit(resource.RLIMIT_NOFILE, origin.files)
        return _execute(order, origin, actions)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, ours)
        os.fchdir(home)
        os.close(home)


def _execute(order: Order, origin: Origin, actions: Sequence[Action]) -> int:
    """Try every place where the program may be; what is raised is the most telling reason why none would do."""
    program = order.argv[0]
    named = b"/" in program
    folders = order.env.get(b"PATH", os.defpath.encode()).split(b":")
    candidates = [program] if named else [os.path.join(folder or b".", program) for folder in folders]  # noqa: PTH118
    stage, number = "program", errno.ENOENT
    for candidate in candidates:
        there = os.path.isfile(candidate)  # noqa: PTH113
        if not there and not named:
            continue  # nothing, a folder, or on PATH a folder that this user may not enter
        try:
            # Caught signals would reset themselves, but ignored ones (SIGPIPE in every Python) never would.
            return os.posix_spawn(
                candidate,
                list(order.argv),
                dict(order.env),
                file_actions=actions,
                setsid=True,
                setsigmask=(),
                setsigdef=origin.signals,
            )
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.ENOMEM}:
                raise
            if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.EACCES}:
                raise NotStarted("program", error.errno or 0) from error
            if error.errno == errno.EACCES:
                stage, number = "program", errno.EACCES
            elif there and number == errno.ENOENT:
                stage = "interpreter"
    raise NotStarted(stage, number)
