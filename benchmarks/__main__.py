"""``python -m benchmarks [--only NAME …] [--quick] [--rounds N] [--json] [--write]``: print every budget, met or missed."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import traceback

import anyio

from benchmarks import report
from benchmarks.harness import QUICK, Effort, Sample
from nexus.errors import NexusError, ProviderUnavailable

MODULES = (
    "imports",
    "configuration",
    "leases",
    "listing",
    "cli",
    "commands",
    "terminals",
    "containers",
    "daemon",
    "prebuilds",
    "outside",
    "worktrees",
    "checkpoints",
)


async def run(names: list[str], effort: Effort) -> list[Sample]:
    """Run the named benchmarks one after the other."""
    samples: list[Sample] = []
    for name in names:
        module = importlib.import_module(f"benchmarks.{name}")
        try:
            found = await module.run(effort)
        except (LookupError, ProviderUnavailable) as missing:
            print(f"{name}: left out: {missing}", file=sys.stderr)
            continue
        except (AssertionError, NexusError, OSError, subprocess.SubprocessError):
            # The rest is still worth measuring; what did not do its work has no line that could be taken for a result.
            print(f"{name}: FAILED, what was measured did not do its work:\n{traceback.format_exc()}", file=sys.stderr)
            continue
        samples += found
        print(f"{name}: done", file=sys.stderr)
    return samples


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=MODULES, help="run only these")
    parser.add_argument("--rounds", type=int, default=10, help="counted rounds of each (default 10)")
    parser.add_argument("--quick", action="store_true", help="few rounds of little work: to see that it runs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", action="store_true", help="write the section of docs/benchmarks.md")
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("what a quick run measures is not worth writing down")
    effort = QUICK if options.quick else Effort(rounds=options.rounds, seconds=8.0)
    samples = anyio.run(run, list(options.only or MODULES), effort)
    line = report.machine(f"git {report.version_of('git', '--version')}")
    if options.json:
        print(json.dumps({"machine": line, "samples": [sample.as_dict() for sample in samples]}, indent=2))
    else:
        print(f"{line}\n\n{report.text(samples)}")
    if options.write:
        report.write_section("budgets", f"{line}.\n\n{report.markdown(samples)}")


if __name__ == "__main__":
    main()
