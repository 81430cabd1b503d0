"""What a command leaves running goes on printing, although nobody listens any more. Pure.

An engine takes a command's output for as long as its first process lives. What that has left running may print some hundred kilobytes
after its end and is held up then, and ten seconds later the runtime closes the pipes: the next word ends it (seen with Docker Engine
20.10 and containerd 1.6; ``docker exec`` is no better). So a script that may leave something running prints into pipes of its own. A
reader behind each passes everything on to the engine's, and throws it away from the moment that those are closed.
"""

from __future__ import annotations

from typing import Final

# $1 a name that nobody can guess, then the command. The pipes have names for a moment only, in a folder that nobody else may enter. The
# shell opens both their ends itself: a reader that came too early would see an end, one that came too late would be waited for. It
# waits for the readers when nobody else has the pipes, so that all that was printed has been passed on by the command's end.
_BEHIND_READERS: Final = """\
_nx_d=
command -v cat >/dev/null 2>&1 && for _nx_w in "${TMPDIR:-/tmp}" /tmp /var/tmp /dev/shm; do
  (umask 077; mkdir "$_nx_w/$1") 2>/dev/null || continue
  _nx_d=$_nx_w/$1
  mkfifo "$_nx_d/o" "$_nx_d/e" 2>/dev/null && break
  rm -rf "$_nx_d"
  _nx_d=
done
shift
[ -n "$_nx_d" ] || exec "$@"
exec 9<>"$_nx_d/o" 5<"$_nx_d/o" 6>"$_nx_d/o" 9>&-
exec 9<>"$_nx_d/e" 7<"$_nx_d/e" 8>"$_nx_d/e" 9>&-
rm -rf "$_nx_d"
_nx_pass() {
  exec 5<&- 6>&- 7<&- 8>&-
  trap '' HUP INT TERM PIPE
  cat 2>/dev/null
  exec cat >/dev/null 2>&1
}
(exec <&5; _nx_pass) &
_nx_o=$!
(exec <&7 >&2; _nx_pass) &
_nx_e=$!
trap : HUP INT TERM
(trap - HUP INT TERM; exec "$@") >&6 2>&8 5<&- 6>&- 7<&- 8>&-
_nx_r=$?
exec 6>&- 8>&-
_nx_ours() { [ "$1" -ef "/proc/$$/fd/5" ] || [ "$1" -ef "/proc/$$/fd/7" ]; }
_nx_left() {
  for _nx_p in /proc/[0-9]*; do
    [ "$_nx_p" != "/proc/$$" ] || continue
    [ -r "$_nx_p/fd" ] || [ ! -d "$_nx_p" ] || return 0
    ! _nx_ours "$_nx_p/fd/0" || continue
    for _nx_f in "$_nx_p"/fd/*; do ! _nx_ours "$_nx_f" || return 0; done
  done
  return 1
}
if ! _nx_left; then
  exec 5<&- 7<&-
  wait "$_nx_o" "$_nx_e"
fi
exit $_nx_r
"""


def behind_readers(argv: tuple[str, ...], nonce: str) -> tuple[str, ...]:
    """Return how to run a command so that what it leaves running is not harmed by its end.

    Args:
        argv: The command.
        nonce: Something that nobody can guess, for the name of a folder.
    """
    return ("/bin/sh", "-c", _BEHIND_READERS, "nexus", f"nexus-{nonce}", *argv)
