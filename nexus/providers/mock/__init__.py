"""A backend in memory: deterministic, scriptable, public. For tests of what is built on Nexus, and of Nexus itself.

::

    script = MockScript()
    script.program("pytest", fake_pytest)                 # async def fake_pytest(call: ProgramCall) -> int
    script.fail("start", after=1)                         # the second start fails

    async with MockProvider(script=script) as provider:
        instance = await provider.create(spec)

It keeps every promise of :mod:`nexus.abc.provider`: order of events, back-pressure, exit behind the output, time limits that end
the whole group, signals, pause. Commands are simulated: the programs of the script, and a few small ones (``sh``, ``echo``,
``cat``, ``sleep`` …, see :mod:`nexus.providers.mock.programs` and :mod:`nexus.providers.mock.shell`) that read and write the
worktree and nothing else. No process is started and no socket opened.
"""

from __future__ import annotations

from nexus.providers.mock.process import Program, ProgramCall
from nexus.providers.mock.provider import MockOptions, MockProvider
from nexus.providers.mock.script import MockScript, RecordedCall
from nexus.providers.mock.world import MockWorld

__all__ = [
    "MockOptions",
    "MockProvider",
    "MockScript",
    "MockWorld",
    "Program",
    "ProgramCall",
    "RecordedCall",
]
