"""The protocol ``nexus.v1`` between client and daemon, as pure code: text and bytes in, events out; no clock, no socket, no task.

- ``messages`` — JSON-RPC 2.0, one message in each text frame; ``frames`` — the 16 bytes before what a stream carries.
- ``flow`` — credit: how far each stream may be sent; ``connection`` — all of it for one connection.
- ``failures`` — errors as numbers and codes, and back; ``shapes``, ``text`` — values as JSON has them.
- ``methods`` — the table that dispatcher, client, OpenRPC document and reference page are made from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.wire import text_frames

__getattr__, __dir__ = on_first_use(__name__, {"nexus.wire": ["text_frames"]})

__all__ = ["text_frames"]
