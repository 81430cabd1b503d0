"""Files for other tools that would take all memory or never end: each gives an answer, in bounded time and memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.config.test_config_broken_yaml import CHILD, LAUGHS

DEV = ".devcontainer/devcontainer.json"
DEEP = 10_000
EXTENDED = "".join(f"  s{n}: {{extends: s{n + 1}, environment: [A{n}=1]}}\n" for n in range(1_500))
DOUBLED = "services:\n  s0: {image: a, ports: ['1']}\n" + "".join(
    f"  s{n}: {{extends: {{file: compose.yaml, service: s{n - 1}}}, ports: ['1']}}\n" for n in range(1, 40)
)
HEAVY: dict[str, dict[str, str]] = {
    "a billion laughs": {"compose.yaml": LAUGHS},
    "a billion laughs in a file that is included": {"compose.yaml": "include: [a.yaml]\n", "a.yaml": LAUGHS},
    "a billion laughs in a file that is extended": {
        "compose.yaml": "services: {a: {extends: {file: a.yaml, service: a}}}\n",
        "a.yaml": LAUGHS,
    },
    "10,000 levels of a compose file": {"compose.yaml": "{a: " * DEEP + "1" + "}" * DEEP},
    "10,000 levels of a dev container": {DEV: '{"a":' * DEEP + "1" + "}" * DEEP},
    "10,000 lists of a dev container": {DEV: "[" * DEEP},
    "services that stand behind each other": {"compose.yaml": f"services:\n{EXTENDED}  s1500: {{image: a}}\n"},
    "one that extends itself by way of its file": {"compose.yaml": DOUBLED},
    "variables that double": {
        "compose.yaml": "services: {a: {image: $A40}}\n",
        ".env": "A0=xxxxxxxx\n" + "".join(f"A{n}=$A{n - 1}$A{n - 1}\n" for n in range(1, 41)),
    },
}
BIG = ("compose.yaml", DEV, ".env", "a.yaml")
"""Files that are a hundred megabytes of nothing, each in a project of its own."""


@pytest.mark.slow
def test_nothing_takes_much_memory_or_time(tmp_path: Path) -> None:
    for number, files in enumerate(HEAVY.values()):
        for name, text in files.items():
            path = tmp_path / f"p{number:02}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for number, name in enumerate(BIG, start=len(HEAVY)):
        root = tmp_path / f"p{number:02}"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name not in {"compose.yaml", DEV}:
            (root / "compose.yaml").write_text("include: [a.yaml]\nservices: {b: {image: $A}}\n")
            (root / "a.yaml").write_text("services: {a: {image: a}}\n")
        (root / name).touch()
        os.truncate(root / name, 100 * 1024 * 1024)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), "c"], capture_output=True, text=True, timeout=55, check=False
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    answers = json.loads(done.stdout)
    assert len(answers) == len(HEAVY) + len(BIG)
    for name, answer in zip([*HEAVY, *BIG], answers.values(), strict=True):
        if name not in {"services that stand behind each other", "one that extends itself by way of its file"}:
            assert re.search(r":\d+:\d+: ", answer), f"{name}: {answer}"
        if name in BIG:
            assert "larger than" in answer, answer
