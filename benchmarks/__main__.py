"""``python -m benchmarks [--only NAME …] [--json] [--rounds N]``: run the benchmarks and print every budget, met or missed."""

from __future__ import annotations

import argparse
import importlib
import json
import sys

import anyio

from benchmarks.harness import Sample, environment, table
from nexus.errors import ProviderUnavailable

MODULES = ("imports", "configuration", "leases", "listing", "worktrees", "commands", "containers", "daemon")


async def run(names: list[str], rounds: int) -> list[Sample]:
    """Run the named benchmarks one after the other."""
    samples: list[Sample] = []
    for name in names:
        module = importlib.import_module(f"benchmarks.{name}")
        try:
            found = await module.run(rounds)
        except (LookupError, ProviderUnavailable) as missing:
            print(f"{name}: left out: {missing}", file=sys.stderr)
            continue
        samples += found
        print(f"{name}: done", file=sys.stderr)
    return samples


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=MODULES, help="run only these")
    parser.add_argument("--rounds", type=int, default=10, help="counted rounds of each (default 10)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    samples = anyio.run(run, list(options.only or MODULES), options.rounds)
    if options.json:
        print(json.dumps({"environment": environment(), "samples": [sample.as_dict() for sample in samples]}, indent=2))
    else:
        print(f"{environment()}\n\n{table(samples)}")


if __name__ == "__main__":
    main()
