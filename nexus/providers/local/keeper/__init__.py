"""The program that stands beside a started workspace: it starts its commands, owns their pipes, and knows all its processes.

It runs by itself on the standard library alone (see :mod:`nexus.providers.local.keeper.__main__`), outlives the program that
started the workspace, and answers on a Unix socket. ``frames`` and ``tree`` are also used by the provider's own side.
"""

from __future__ import annotations
