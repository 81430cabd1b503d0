"""The script that works on files where a workspace runs. It is passed along with every call; nothing is put inside.

It needs a POSIX ``sh``, and ``stat -c``, ``find``, ``readlink`` and the like as BusyBox and GNU have them.

It keeps to the tree as a courtesy, with the errors of :class:`nexus.FileSystem`: what a workspace may do to its own place it may do
anyway, so nothing is protected by it from programs inside.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

FORMAT: Final = "%f|%s|%i|%Y|%y"
"""What ``stat`` is asked for: mode, size, inode, time of the last change in seconds, and as precisely as it is known."""

ESCAPE: Final = 70
MODIFIED: Final = 71
OF_GIT: Final = 72
NOT_A_FILE: Final = 73
INTO_ITSELF: Final = 74
FIXED: Final = 75
GONE: Final = 77

NUMBERS: Final[Mapping[int, int]] = {
    80: errno.ENOENT,
    81: errno.EEXIST,
    82: errno.ENOTDIR,
    83: errno.EISDIR,
    84: errno.EACCES,
    85: errno.ENOTEMPTY,
    86: errno.ELOOP,
    87: errno.EIO,
}
"""Statuses that stand for an error of the system."""

SCRIPT: Final = r"""
op=$1 root_name=$2 token=$3; shift 3
LC_ALL=C; export LC_ALL
cd -P -- "$root_name" 2>/dev/null || exit 77
root=$PWD
format='%f|%s|%i|%Y|%y'

inside() { case $PWD/ in "${root%/}"/*) ;; *) exit 70 ;; esac; }

why() {
  if [ -d "$1" ]; then exit 84; elif [ -e "$1" ]; then exit 82; elif [ -L "$1" ]; then exit 80; else exit 80; fi
}

go() {
  walk=$1
  while [ -n "$walk" ]; do
    part=${walk%%/*}
    case $walk in */*) walk=${walk#*/} ;; *) walk= ;; esac
    case $part in ''|.) continue ;; esac
    if ! cd -P -- "./$part" 2>/dev/null; then
      if [ "$2" = 1 ] && ! [ -e "./$part" ] && ! [ -L "./$part" ] && mkdir -- "./$part" 2>/dev/null; then
        cd -P -- "./$part" || exit 84
      else
        why "./$part"
      fi
    fi
    inside
  done
}

place() {  # path, whether to follow, whether to make folders: goes to the folder and sets name
  left=$1 links=0
  while :; do
    case $left in */*) folder=${left%/*} name=${left##*/} ;; *) folder= name=$left ;; esac
    go "$folder" "$3"
    case $name in ''|.|..) go "$name" 0; name=.; return ;; esac
    [ "$2" = 1 ] && [ -L "./$name" ] || return 0
    links=$((links + 1)); [ $links -le 40 ] || exit 86
    left=$(readlink -- "./$name" && echo x) || exit 87
    left=${left%??}
    case $left in
      "$root"/*) left=${left#"$root"/}; cd "$root" ;;
      "$root_name"/*) left=${left#"$root_name"/}; cd "$root" ;;
      "$root"|"$root_name") left=.; cd "$root" ;;
      /workspace/*) left=${left#/workspace/}; cd "$root" ;;
      /*) exit 70 ;;
    esac
    while case $left in */) true ;; *) false ;; esac; do left=${left%/}; done
  done
}

writing() {
  case ${PWD#"$root"}/$name in /.[gG][iI][tT]|/.[gG][iI][tT]/*) exit 72 ;; esac
}

there() { [ -e "./$1" ] || [ -L "./$1" ]; }

tell() { stat -c "$format" -- "./$1" || exit 87; }

etag() { stat -c '%i:%s:%Y:%y' -- "./$1" 2>/dev/null || echo absent; }

is_file() {
  [ -f "./$1" ] && return
  there "$1" || exit 80
  [ -d "./$1" ] && exit 83
  exit 73
}

may_replace() {
  [ -L "./$1" ] && exit 87
  there "$1" && { [ -d "./$1" ] && exit 83; [ -f "./$1" ] || exit 73; }
  [ -z "$2" ] || [ "$(etag "$1")" = "$2" ] || exit 71
}

case $op in
  stat)
    place "$1" "$2" 0
    there "$name" || exit 80
    tell "$name"
    if [ -L "./$name" ]; then readlink -- "./$name"; fi
    ;;
  real)
    place "$1" 1 0
    there "$name" || exit 80
    if [ "$name" = . ]; then path=$PWD; else path=${PWD%/}/$name; fi
    path=${path#"$root"}; printf %s "${path#/}"
    ;;
  list)
    place "$1" 1 0
    there "$name" || exit 80
    [ -d "./$name" ] || exit 82
    cd -P -- "./$name" 2>/dev/null && [ -r . ] || exit 84
    inside
    deep=; [ "$2" = 1 ] || deep='-maxdepth 1'
    find . -mindepth 1 $deep -exec stat -c "$token|$format|%n" -- {} + 2>/dev/null
    printf '%s|links' "$token"
    find . -mindepth 1 $deep -type l -exec sh -c '
      token=$1; shift
      for link; do target=$(readlink -- "$link" && echo x) && printf "%s|%s|%s" "$token" "$link" "$token" && printf %s "${target%??}"; done
    ' sh "$token" {} + 2>/dev/null
    printf '%s|end' "$token"
    ;;
  read)
    place "$1" 1 0
    is_file "$name"
    [ -r "./$name" ] || exit 84
    exec 3< "./$name"
    tell "$name"
    if [ "$2" -gt 0 ]; then set -- "$1" "$(($2 + 1))" "$3"; tail -c "+$2" <&3; else cat <&3; fi |
      if [ "$3" -ge 0 ]; then head -c "$3"; else cat; fi
    ;;
  draft)
    place "$1" 1 "$4"
    [ "$name" = . ] && exit 83
    writing
    may_replace "$name" "$3"
    if [ "$2" != - ] || there "$name"; then umask 077; fi
    draft=.nexus-$token.tmp
    set -C
    trap 'trap "" TERM HUP INT; rm -f "./$draft"' EXIT
    trap 'exit 87' TERM HUP INT
    cat > "./$draft" 2>/dev/null || exit 84
    size=$(stat -c %s -- "./$draft") || exit 87
    trap - EXIT
    printf '%s' "$size"
    ;;
  publish)
    place "$1" 1 0
    writing
    draft=.nexus-$token.tmp
    [ -f "./$draft" ] || exit 87
    trap 'trap "" TERM HUP INT; rm -f "./$draft"' EXIT
    [ "$(stat -c %s -- "./$draft")" = "$4" ] || exit 87
    if command -v flock >/dev/null 2>&1; then exec 9< . && flock -w 10 9; fi
    may_replace "$name" "$3"
    if [ "$2" != - ]; then chmod "$2" -- "./$draft" || exit 84
    elif there "$name"; then chmod "$(stat -c %a -- "./$name")" -- "./$draft" || exit 84; fi
    mv -f -- "./$draft" "./$name" || exit 84
    trap - EXIT
    tell "$name"
    ;;
  drop) place "$1" 1 0; rm -f -- "./.nexus-$token.tmp" ;;
  mode)
    place "$1" 1 0
    writing
    there "$name" || exit 80
    chmod "$2" -- "./$name" 2>/dev/null || exit 84
    tell "$name"
    ;;
  mkdir)
    place "$1" 1 "$2"
    writing
    if there "$name"; then
      [ "$3" = 1 ] && [ -d "./$name" ] && exit 0
      exit 81
    fi
    mkdir -- "./$name" 2>/dev/null || exit 84
    ;;
  remove)
    place "$1" 0 0
    [ "$name" = . ] && exit 75
    writing
    there "$name" || exit 80
    if [ -d "./$name" ] && ! [ -L "./$name" ]; then
      if [ "$2" = 1 ]; then rm -rf -- "./$name" 2>/dev/null || exit 84
      elif ! rmdir -- "./$name" 2>/dev/null; then
        [ -n "$(ls -A -- "./$name" 2>/dev/null)" ] && exit 85
        exit 84
      fi
    else
      rm -f -- "./$name" 2>/dev/null || exit 84
    fi
    ;;
  rename)
    place "$1" 0 0
    [ "$name" = . ] && exit 75
    writing
    there "$name" || exit 80
    from=${PWD%/}/$name
    cd "$root"
    place "$2" 0 0
    [ "$name" = . ] && exit 75
    writing
    to=${PWD%/}/$name
    case $to/ in "$from"/?*) exit 74 ;; esac
    if there "$name" && [ "$from" != "$to" ]; then
      [ "$3" = 1 ] || exit 81
      if [ -d "$to" ] && ! [ -L "$to" ]; then
        { [ -d "$from" ] && ! [ -L "$from" ]; } || exit 83
        rmdir -- "$to" 2>/dev/null || exit 85
      elif [ -d "$from" ] && ! [ -L "$from" ]; then
        exit 82
      fi
    fi
    [ "$from" = "$to" ] || mv -f -- "$from" "$to" 2>/dev/null || exit 84
    ;;
  link)
    place "$1" 0 0
    [ "$name" = . ] && exit 75
    writing
    if there "$name"; then
      [ "$3" = 1 ] && ! { [ -d "./$name" ] && ! [ -L "./$name" ]; } || exit 81
      rm -f -- "./$name"
    fi
    ln -s -- "$2" "./$name" 2>/dev/null || exit 84
    ;;
esac
"""
