"""The shell that stands between the engine and a command.

The engine tells neither when a command has really started nor, promptly, when it has ended: a background child that holds
the output open hides the end. So a command runs below a few lines of POSIX ``sh`` that stay its parent. They change folder,
look the program up, and write marks to standard error (on a terminal: to the terminal), which
:mod:`nexus.providers.docker.exec_marks` takes out of the stream again before anybody sees them::

    RS nonce s PID GROUP RS LF        it runs: its own process id, and that of the shell, which leads session and group
    RS nonce e REASON CODE RS LF      it cannot be started
    RS nonce x STATUS OOM RS LF       it has ended; OOM is 1 when the kernel ran out of memory for it
    RS nonce r RS LF                  a prepared shell has read the command's text and waits for the word to go
    RS nonce i RS LF                  a prepared shell waits for the next command; on both streams, behind all output of the last

RS is the byte 0x1E and the nonce is new for every command. The words of the command arrive as positional parameters and are
never evaluated; its environment goes through the engine, never through an argument that a process list would show.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from nexus.errors import InvalidArgument
from nexus.models.execution import SpawnRequest

# Every name begins with _nx_: assigning to a variable that came with the environment would change what the command inherits.
# The subshell, and so the command, gets the defaults of what the shell above traps.
# File descriptor 9 hides what a shell itself has to say about a child that died of a signal.
_COMMON: Final = """\
_nx_say() { echo "\x1e$_nx_n $*\x1e" >&2; }
_nx_refuse() { _nx_say e $1 $2; exit $2; }
_nx_launch() {
  _nx_f=$1 _nx_d=$2 _nx_e=$3
  shift 3
  case $_nx_f in *b*)
    for _nx_w; do shift; _nx_w=$(printf '%bx' "$_nx_w"); set -- "$@" "${_nx_w%x}"; done
    _nx_d=$(printf '%bx' "$_nx_d"); _nx_d=${_nx_d%x}
    for _nx_w in $_nx_e; do
      eval "$_nx_w=\\$(printf '%bx' \"\\$$_nx_w\"); $_nx_w=\\${$_nx_w%x}; export $_nx_w"
    done ;;
  esac
  if [ -n "$_nx_d" ]; then
    if CDPATH= cd -- "$_nx_d" >/dev/null 2>&1; then :
    elif [ -d "$_nx_d" ]; then _nx_refuse folder-denied 126
    elif [ -e "$_nx_d" ]; then _nx_refuse folder-is-file 126
    else _nx_refuse folder-missing 126; fi
  fi
  _nx_r=missing
  case $1 in
  */*)
    if [ -d "$1" ]; then _nx_r=directory
    elif [ -x "$1" ]; then _nx_r=
    elif [ -e "$1" ]; then _nx_r=denied; fi ;;
  *)
    set -f; _nx_i=$IFS; IFS=:
    for _nx_w in ${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}; do
      _nx_w=${_nx_w:-.}/$1
      if [ -f "$_nx_w" ]; then
        if [ -x "$_nx_w" ]; then _nx_r=; break; fi
        _nx_r=denied
      fi
    done
    IFS=$_nx_i; set +f ;;
  esac
  case $_nx_r in
  missing) _nx_refuse missing 127 ;;
  denied|directory) _nx_refuse $_nx_r 126 ;;
  esac
  read -r _nx_w _nx_k </proc/self/stat
  _nx_say s "$_nx_w" $$
  exec "$@"
}
_nx_oom() {
  _nx_o=0
  for _nx_w in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
    if [ -r "$_nx_w" ]; then
      while read -r _nx_i _nx_v; do case $_nx_i in oom_kill) _nx_o=$_nx_v ;; esac; done <"$_nx_w"
      return
    fi
  done
}
_nx_run() {
  _nx_oom
  _nx_b=$_nx_o
  {
    (
      exec 2>&9 9>&-
      _nx_body "$@"
    )
    _nx_r=$?
  } 9>&2 2>/dev/null
  _nx_k=0
  case $_nx_r in 137) _nx_oom; [ "$_nx_o" = "$_nx_b" ] || _nx_k=1 ;; esac
  _nx_say x $_nx_r $_nx_k
}
"""

_SIGNALS: Final = "1 2 3 4 5 6 7 8 10 11 12 13 14 15 16 24 25 26 27 29 30 31"
"""What a shell above a command traps, to stay alive when its whole group is signalled."""

_RUN: Final = (
    _COMMON
    + f"""\
_nx_body() {{ _nx_launch "$@"; }}
_nx_n=$1 _nx_z=$2
shift 2
case $_nx_z in ?*) stty rows ${{_nx_z%x*}} cols ${{_nx_z#*x}} >/dev/null 2>&1 ;; esac
for _nx_w in {_SIGNALS}; do trap : $_nx_w; done
_nx_run "$@"
exit $_nx_r
"""
)

# Waits for commands on its standard input, see nexus.providers.docker.prepared. $1 ends the text of a command. `read` takes one
# byte at a time, so what follows a command's text is still there for the command itself. A signal to the group, which the
# shell leads, is meant for the command: the shell goes with it, once it has reported.
_SERVE: Final = (
    _COMMON
    + f"""\
_nx_body() {{
  case $_nx_m in n) exec </dev/null ;; esac
  eval "$_nx_s"
  _nx_launch "$@"
}}
_nx_alone() {{
  for _nx_w in /proc/[0-9]*; do
    [ "$_nx_w" != "/proc/$$" ] || continue
    read -r _nx_l 2>/dev/null <"$_nx_w/stat" || continue
    set -- ${{_nx_l##*) }}
    [ "$4" != $$ ] || return 1
    [ "${{20}}" -ge "$_nx_born" ] || continue
    [ -r "$_nx_w/fd" ] || [ ! -d "$_nx_w" ] || return 1
    for _nx_f in "$_nx_w"/fd/*; do
      if [ "$_nx_f" -ef "/proc/$$/fd/1" ] || [ "$_nx_f" -ef "/proc/$$/fd/2" ]; then return 1; fi
    done
  done
}}
read -r _nx_l <"/proc/$$/stat" && set -- "$1" ${{_nx_l##*) }} && _nx_born=${{21}} || exit 1
_nx_n=$1 _nx_end=$1 _nx_t= _nx_c='
'
for _nx_w in {_SIGNALS}; do trap _nx_t=1 $_nx_w; done
_nx_say r
while IFS=' ' read -r _nx_n _nx_m; do
  _nx_s=
  while :; do
    IFS= read -r _nx_l || exit 0
    [ "$_nx_l" != "$_nx_end" ] || break
    _nx_s=$_nx_s$_nx_l$_nx_c
  done
  _nx_say r
  IFS= read -r _nx_l && [ "$_nx_l" = go ] || exit 0
  _nx_run
  [ "$_nx_m" = n ] && [ -z "$_nx_t" ] && _nx_alone || exit $_nx_r
  _nx_say i
  _nx_say i 2>&1
done
"""
)

# Ends a group as a time-out does: TERM, up to $2 tenths of a second for its members, then KILL for whatever is left of the
# session, which also reaches what a shell with job control put into groups of its own. 3: the command has ended by itself.
# 4: TERM was sent, but without `sleep` nobody can wait here, so the caller does and asks for the rest ($2 = 0).
_END: Final = """\
_nx_g=$1 _nx_t=$2
if [ "$_nx_t" -gt 0 ]; then
  [ -e "/proc/$_nx_g" ] || exit 3
  kill -TERM "-$_nx_g" 2>/dev/null || exit 3
  if sleep 0.1 2>/dev/null; then _nx_s=0.1 _nx_i=1
  elif sleep 1 2>/dev/null; then _nx_s=1 _nx_i=10
  else exit 4; fi
  _nx_n=$_nx_i
  while kill -0 "-$_nx_g" 2>/dev/null && [ "$_nx_n" -lt "$_nx_t" ]; do
    sleep $_nx_s
    _nx_n=$((_nx_n + _nx_i))
  done
fi
kill -KILL "-$_nx_g" 2>/dev/null
for _nx_f in /proc/[0-9]*/stat; do
  read -r _nx_l 2>/dev/null <"$_nx_f" || continue
  _nx_l=${_nx_l##*) }
  set -- $_nx_l
  [ "$4" = "$_nx_g" ] || continue
  _nx_p=${_nx_f#/proc/}
  kill -KILL "${_nx_p%/stat}" 2>/dev/null
done
exit 0
"""

# $1 the signal's number, $2 the group. 3: the command has ended.
_SIGNAL: Final = """\
[ -e "/proc/$2" ] || exit 3
kill "-$1" "-$2" 2>/dev/null || exit 3
"""

NOT_RUNNING: Final = 3
"""Status of the scripts that signal: the command had ended."""
TERM_ONLY: Final = 4
"""Status of the script that ends a group: TERM was sent, the rest is to be asked for after the grace."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SHELLS_OWN: Final = frozenset(
    {
        "BASHOPTS", "BASHPID", "BASH_VERSINFO", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS", "EUID", "FUNCNAME", "GROUPS",
        "HISTCMD", "IFS", "LINENO", "OPTIND", "PPID", "RANDOM", "SECONDS", "SHELLOPTS", "SRANDOM", "UID",
    }
)  # fmt: skip
"""Variables that one shell or another sets or reads itself, so that their value would not reach the command."""


def passes_shell(names: Iterable[str]) -> bool:
    """Return whether variables of these names reach a command unchanged below any ``sh``.

    A shell drops what is no identifier (``dash`` does) and owns a few names.
    """
    return all(_NAME.fullmatch(name) and name not in _SHELLS_OWN and not name.startswith("_nx_") for name in names)


_QUIET: Final = "q"
"""Flag of a command that does not count as work. The shell does not look at it; whoever asks what runs does."""
_FLAGS: Final = 6
_WORDS: Final = 9
"""Where the command's own words begin, behind the shell, its script and what that is told."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A command made ready for the engine: words and environment are text that JSON can carry."""

    argv: tuple[str, ...]
    env: tuple[str, ...]
    """``NAME=value`` each."""


def wrap(request: SpawnRequest, nonce: str) -> Wrapped:
    """Return the shell that runs the request's command and reports with ``nonce``.

    Bytes that are no UTF-8 (surrogate escapes, as :func:`os.fsdecode` makes them) travel as octal escapes, since JSON cannot
    carry them; the shell turns them back.

    Raises:
        InvalidArgument: When a word cannot be turned into bytes at all.
    """
    order = _order(request)
    size = f"{request.pty.rows}x{request.pty.cols}" if request.pty is not None else ""
    return Wrapped(("/bin/sh", "-c", _RUN, "nexus", nonce, size, *order.words), environment(request, escaped=order.odd))


def serving_shell(token: str) -> tuple[str, ...]:
    """Return the shell that waits for commands whose text ends with a line of ``token``."""
    return ("/bin/sh", "-c", _SERVE, "nexus", token)


def hand_over(request: SpawnRequest, nonce: str, token: str) -> bytes:
    """Return what to write to a waiting shell: a line with nonce and mode, the command as shell text, and the end.

    Words and values are quoted: none is ever evaluated. In mode ``s`` the command has the shell's standard input, and the shell
    serves nobody after it.

    Raises:
        InvalidArgument: When a word cannot be turned into bytes at all.
    """
    order = _order(request, plain=str.isascii)
    variables = [
        f"export {name}={_quote(_escape(value) if name in order.odd else value)}" for name, value in request.env.items()
    ]
    words = " ".join(_quote(word) for word in order.words)
    lines = (f"{nonce} {'s' if request.stdin else 'n'}", *variables, f"set -- {words}", token, "")
    return "\n".join(lines).encode()


@dataclass(frozen=True, slots=True)
class _Order:
    """What the shell's function that launches a command takes."""

    words: tuple[str, ...]
    odd: frozenset[str]
    """Variables whose values are escaped."""


def _order(request: SpawnRequest, plain: Callable[[str], bool] | None = None) -> _Order:
    plain = plain or _is_text
    cwd = request.cwd or ""
    if cwd and not cwd.startswith("/"):
        cwd = f"./{cwd}"  # a bare `-` would mean the previous folder
    odd = [name for name, value in request.env.items() if not plain(value)]
    escaped = bool(odd) or not all(plain(word) for word in (*request.argv, cwd))
    words = tuple(_escape(word) for word in (cwd, *request.argv)) if escaped else (cwd, *request.argv)
    flags = f"-{'b' if escaped else ''}{'' if request.keeps_awake else _QUIET}"
    return _Order((flags, words[0], " ".join(odd), *words[1:]), frozenset(odd))


def program_of(argv: Sequence[str]) -> tuple[str, bool] | None:
    """Return the program that an engine's list of words runs, and whether it counts as work; ``None`` for a tool of ours.

    Args:
        argv: What the engine says that it runs, its program first.
    """
    if tuple(argv[:2]) != ("/bin/sh", "-c") or len(argv) < 3:
        return (argv[0], True) if argv and argv[0] else ("a command", True)
    if argv[2] in {_END, _SIGNAL}:
        return None
    if argv[2] != _RUN or len(argv) <= _WORDS:
        return "sh", True
    return argv[_WORDS], _QUIET not in argv[_FLAGS]


def is_serving(argv: Sequence[str]) -> bool:
    """Return whether an engine's list of words is a shell that waits for commands, or has been given one."""
    return tuple(argv[:3]) == ("/bin/sh", "-c", _SERVE)


def environment(request: SpawnRequest, *, escaped: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return the request's environment as the engine takes it, with ``TERM`` on a terminal."""
    term = {"TERM": request.pty.term} if request.pty is not None else {}
    merged: Mapping[str, str] = {**term, **request.env}
    return tuple(f"{name}={_escape(value) if name in escaped else value}" for name, value in merged.items())


def end_command(group: int, grace: float) -> tuple[str, ...]:
    """Return the command that ends a group and its session: TERM, ``grace`` seconds, KILL; only KILL when it is zero."""
    tenths = 0 if grace <= 0 else max(1, round(grace * 10))
    return ("/bin/sh", "-c", _END, "nexus", str(group), str(tenths))


def signal_command(group: int, number: int) -> tuple[str, ...]:
    """Return the command that sends a signal to a group."""
    return ("/bin/sh", "-c", _SIGNAL, "nexus", str(number), str(group))


def _quote(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escape(word: str) -> str:
    """Return ``word`` for ``printf %b``: every byte that is not plain as an octal escape."""
    try:
        data = word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as exc:
        raise InvalidArgument(f"{word!r} cannot be turned into bytes: it holds half a surrogate pair") from exc
    return "".join(chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else f"\\0{byte:03o}" for byte in data)
