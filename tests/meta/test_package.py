"""What ships: the wheel carries both packages, the type marker and the command."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nexus.daemon.page import PAGE_FILES

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_wheel_is_complete(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("nexus_workspace-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "nexus/py.typed" in names
    assert "nexus/__init__.py" in names
    assert "cli_example/__init__.py" in names
    assert {f"nexus/config/schemas/{level}.json" for level in ("node", "user", "project")} <= set(names)
    assert {f"nexus/daemon/page/{name}" for name in PAGE_FILES.values()} <= set(names)
    assert {f"nexus/daemon/page/vendor/LICENSE.{name}" for name in ("xterm", "addon-fit")} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "examples/", "benchmarks/"))]
    entry = next(name for name in names if name.endswith("entry_points.txt"))
    assert "boulder = cli_example:main" in zipfile.ZipFile(wheel).read(entry).decode()


def test_both_type_markers_are_there() -> None:
    assert (ROOT / "py.typed").exists()
    assert (ROOT / "nexus" / "py.typed").exists()
