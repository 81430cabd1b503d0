"""The life of workspaces: a table of statuses, plans as values, and the shells that carry them out.

- ``lifecycle``, ``plan``, ``records``, ``collect`` — pure decisions.
- ``creation``, ``destruction``, ``running``, ``switching``, ``observing``, ``recovery``, ``sweeping``, ``rebuilding``,
  ``doctor`` — one operation each, on a shared ``context``.
- ``manager`` and ``handle`` — the faces that programs hold; ``operation``, ``process``, ``files`` — what handles give.
"""

from __future__ import annotations
