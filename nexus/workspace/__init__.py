"""The life of workspaces: a table of statuses, plans as values, and the shells that carry them out.

- ``lifecycle``, ``plan``, ``records`` — pure decisions.
- ``creation``, ``destruction``, ``running``, ``switching``, ``observing``, ``recovery``, ``sweeping``, ``rebuilding``,
  ``doctor`` — one operation each, on a shared ``context``.
- ``manager`` — the service in this process; ``files`` — the files of a tree on this host.
"""

from __future__ import annotations
