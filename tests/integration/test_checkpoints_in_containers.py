"""Checkpoints and forks of docker workspaces: files of the container, volumes, services, and a PostgreSQL that never comes back corrupt."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest
import yaml
from pydantic import JsonValue

import nexus
from nexus.errors import CheckpointDamaged, Unsupported
from nexus.models.instances import LABEL_CHECKPOINT, LABEL_REPOSITORY, LABEL_WORKSPACE
from tests.engine.raw import RawEngine
from tests.workbench import Bench, git, leftovers, make_bench

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(240)]

DATABASE = "postgres://postgres@localhost:5432/app"


@pytest.fixture
def bench(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    made = make_bench("docker", repository, tmp_path, request)
    made.extra["volumes"] = ["data:/data"]
    return made


@pytest.fixture
def raw(engine: str) -> RawEngine:
    return RawEngine(engine)


def on_engine(raw: RawEngine, repository: Path) -> dict[str, list[str]]:
    """Everything that the engine has for checkpoints of a repository, and images that hold files of its workspaces."""
    label = f"{LABEL_REPOSITORY}={repository}"
    images = raw.get("/images/json?all=1&filters=" + quote(json.dumps({"label": [label]})))
    volumes = raw.get("/volumes?filters=" + quote(json.dumps({"label": [label, LABEL_CHECKPOINT]})))["Volumes"] or []
    copying = raw.get("/containers/json?all=1&filters=" + quote(json.dumps({"label": ["dev.nexus.docker.copying"]})))
    return {
        "images": sorted(name for image in images for name in image["RepoTags"] or [image["Id"]]),
        "volumes": sorted(volume["Name"] for volume in volumes),
        "copying": [one["Id"] for one in copying if one["Labels"].get(LABEL_REPOSITORY) == str(repository)],
    }


NOTHING: dict[str, list[str]] = {"images": [], "volumes": [], "copying": []}


async def test_files_and_volumes_come_back_and_the_restore_can_be_taken_back(bench: Bench, raw: RawEngine) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        script = (
            "echo then > /tmp/own; echo then > /data/kept; chmod 640 /data/kept; ln -s kept /data/link; chmod 750 /data"
        )
        await ws.shell(script, check=True)
        look = "ls -lan /data | grep -v '[.][.]$'; cat /data/link /tmp/own; readlink /workspace; ls -ldn $HOME"
        before = (await ws.shell(look, check=True)).stdout
        mark = await ws.checkpoints.create("mark")
        assert mark.image is not None
        assert [name.rpartition("-")[2] for name in mark.volumes] == ["data"]
        assert (mark.notes, mark.processes) == ((), False)
        await ws.shell("echo now > /tmp/own; rm /data/kept; echo x > /data/new; chmod 700 /data", check=True)
        await ws.fs.write_text("idea", "now\n")

        done = await ws.checkpoints.restore(mark)
        assert (await ws.shell(look, check=True)).stdout == before
        assert not await ws.fs.exists("idea")
        await ws.checkpoints.restore(done.undo)
        assert (
            await ws.shell("cat /tmp/own /data/new idea; ls /data", check=True)
        ).stdout == "now\nx\nnow\nlink\nnew\n"

        # Its place is lost, ports change: what is there goes on working, whatever checkpoints are deleted.
        for each in await ws.checkpoints.list():
            await ws.checkpoints.delete(each)
        assert on_engine(raw, bench.repository)["volumes"] == []
        await ws.stop(grace=1)
        await ws.start()
        assert (await ws.shell("cat /tmp/own", check=True)).stdout == "now\n"
        again = await ws.checkpoints.create()
        await ws.checkpoints.restore(again)
        assert (await ws.shell("cat /tmp/own", check=True)).stdout == "now\n"
        await ws.destroy(force=True)
    assert on_engine(raw, bench.repository) == NOTHING
    assert await leftovers(bench) == []


async def test_forks_share_nothing_and_outlive_where_they_came_from(bench: Bench, raw: RawEngine) -> None:
    bench.extra["ports.web.container"] = 3000
    async with bench.open() as nx:
        ws = await nx.create("a")
        await ws.shell("echo then > /tmp/own; echo then > /data/kept", check=True)
        async with ws.spawn("sleep", "1000") as sleeping:
            forks = [fork.workspace for fork in await ws.fork(["b", "c"])]
            assert sleeping.exit_code is None
        assert on_engine(raw, bench.repository)["volumes"] == []
        b, c = forks
        assert b is not None
        assert c is not None
        for one in (b, c):
            seen = await one.shell("cat /tmp/own /data/kept; hostname; echo $NEXUS_WORKSPACE", check=True)
            assert seen.stdout == f"then\nthen\n{one.name}\n{one.name}\n"
        await b.shell("echo b > /data/kept; echo b > /tmp/own", check=True)
        await ws.destroy(force=True)
        assert (await c.shell("cat /data/kept /tmp/own", check=True)).stdout == "then\nthen\n"
        (d,) = await b.fork(["d"])
        assert d.workspace is not None
        await b.destroy(force=True)
        assert (await d.workspace.shell("cat /data/kept /tmp/own", check=True)).stdout == "b\nb\n"
        containers = raw.labelled(f"{LABEL_REPOSITORY}={bench.repository}")
        assert {kind: len(found) for kind, found in containers.items()} == {
            "containers": 2,
            "networks": 2,
            "volumes": 2,
        }
        for name in ("c", "d"):
            await nx.destroy(name, force=True)
    assert on_engine(raw, bench.repository) == NOTHING
    assert await leftovers(bench) == []


async def test_what_somebody_removed_from_the_engine_is_told_before_anything_changes(
    bench: Bench, raw: RawEngine
) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        await ws.shell("echo now > /tmp/own", check=True)
        mark = await ws.checkpoints.create()
        (copy,) = on_engine(raw, bench.repository)["volumes"]
        # A note that came with a clone names a volume which was not kept for it: that is never read.
        (entry,) = await nx._open.checkpoints.load("a")
        assert entry.place is not None
        (volume,) = entry.place.volumes
        forged = entry.place.model_copy(update={"volumes": (volume.model_copy(update={"copy_name": volume.source}),)})
        await nx._open.checkpoints.save(entry.model_copy(update={"place": forged}))
        with pytest.raises(CheckpointDamaged, match="not whole"):
            await ws.checkpoints.restore(mark)
        await nx._open.checkpoints.save(entry)
        assert raw.call("DELETE", f"/volumes/{copy}")[0] == 204
        await ws.fs.write_text("idea", "now\n")
        with pytest.raises(CheckpointDamaged, match="somebody removed the copy of volume") as damaged:
            await ws.checkpoints.restore(mark)
        assert not getattr(damaged.value, "__notes__", [])
        assert (await ws.shell("cat /tmp/own idea", check=True)).stdout == "now\nnow\n"
        with pytest.raises(Unsupported, match="processes cannot be kept with a checkpoint: the engine gives"):
            await ws.checkpoints.create(processes=True)
        await ws.destroy(force=True)
    assert on_engine(raw, bench.repository) == NOTHING


async def test_what_a_killed_process_left_on_the_engine_is_found_by_its_labels(bench: Bench, raw: RawEngine) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        mark = await ws.checkpoints.create()
        entry = (await nx._open.checkpoints.load("a"))[0]
        await nx._open.checkpoints.delete(entry)
        await nx._open.trees.drop(mark.ref, expected=mark.commit)
        findings = [each for each in await nx.doctor() if each.check == "leftovers" and mark.id in each.message]
        assert [each.level for each in findings] == ["error"] or findings
        await nx.doctor(fix=True)
        assert on_engine(raw, bench.repository) == NOTHING
        await ws.destroy()


def with_postgres(repository: Path, image: str, *, volume: bool) -> None:
    service: dict[str, JsonValue] = {
        "image": image,
        "entrypoint": ["start-postgres"],
        "user": "postgres",
        "ports": ["5432:5432"],
        "env": {"POSTGRES_DB": "app", "PGDATA": "/var/lib/postgresql/data"},
        "healthcheck": {"test": "pg_isready -h 127.0.0.1 -U postgres", "interval": "1s"},
    }
    if volume:
        service["volumes"] = ["database:/var/lib/postgresql/data"]
    (repository / ".nexus").mkdir()
    (repository / ".nexus" / "config.yaml").write_text(yaml.safe_dump({"services": {"postgres": service}}))
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "postgres")


async def sql(ws: nexus.Workspace, statement: str) -> str:
    done = await ws.exec("psql", "-tAX", "-v", "ON_ERROR_STOP=1", "-c", statement, DATABASE, timeout=60)
    assert done.ok, done.output
    return done.stdout.strip()


# Both rows or none: what is torn apart shows. The index is checked against the table, and every page by its checksum.
TABLES = "CREATE TABLE log (n serial PRIMARY KEY, half int); CREATE INDEX ON log (half)"
LOAD = "while :; do echo 'BEGIN; INSERT INTO log (half) VALUES (1); INSERT INTO log (half) VALUES (2); COMMIT;'; done"


@pytest.mark.timeout(600)
async def test_a_database_under_write_load_never_comes_back_corrupt(
    repository: Path, engine: str, service_image: str, raw: RawEngine
) -> None:
    with_postgres(repository, service_image, volume=True)
    bench = Bench("docker", repository, {"backend": "docker", "backends.docker.socket": engine, "image": service_image})
    async with bench.open() as nx:
        ws = await nx.create("a")
        await sql(ws, TABLES)
        async with ws.spawn("sh", "-c", f"{LOAD} | psql -qX {DATABASE}"):
            with anyio.fail_after(60):
                while int(await sql(ws, "SELECT count(*) FROM log")) < 500:
                    pass  # each question takes its time
            before = int(await sql(ws, "SELECT count(*) FROM log"))
            mark = await ws.checkpoints.create("under load")
            after = int(await sql(ws, "SELECT count(*) FROM log"))
        assert [name.rpartition("-")[2] for name in mark.volumes] == ["database"]
        assert mark.frozen
        counts = set()
        for _ in range(10):
            await ws.checkpoints.restore(mark)
            count = int(await sql(ws, "SELECT count(*) FROM log"))
            counts.add(count)
            # Every row is read by its table and by its index; pairs are whole.
            halves = await sql(
                ws,
                "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;"
                "SELECT count(*) FILTER (WHERE half = 1), count(*) FILTER (WHERE half = 2) FROM log",
            )
            by_index = await sql(
                ws,
                "SET enable_seqscan = off; SELECT (SELECT count(*) FROM log WHERE half = 1), (SELECT count(*) FROM log WHERE half = 2)",
            )
            assert halves.splitlines()[-1] == by_index.splitlines()[-1] == f"{count // 2}|{count // 2}"
            await sql(ws, "INSERT INTO log (half) VALUES (1), (2)")
            log = b"".join([chunk async for chunk in ws.logs(service="postgres")]).decode()
            assert "redo done" in log  # it had to recover: the copy was taken while it wrote
            assert "PANIC" not in log
            assert "invalid page" not in log
            undo = (await ws.checkpoints.list())[0]
            await ws.checkpoints.delete(undo)
        assert len(counts) == 1
        assert before <= counts.pop() <= after
        await ws.destroy(force=True)
    assert on_engine(raw, repository) == NOTHING


async def test_a_service_without_a_volume_has_its_files_in_it_and_forks_have_them_too(
    repository: Path, engine: str, service_image: str, raw: RawEngine
) -> None:
    with_postgres(repository, service_image, volume=False)
    bench = Bench("docker", repository, {"backend": "docker", "backends.docker.socket": engine, "image": service_image})
    async with bench.open() as nx:
        ws = await nx.create("a")
        await sql(ws, "CREATE TABLE t (x int); INSERT INTO t VALUES (1)")
        mark = await ws.checkpoints.create()
        assert mark.services == ("postgres",)
        await sql(ws, "INSERT INTO t VALUES (2)")
        (fork,) = await ws.fork(["b"])
        assert fork.error is None
        assert fork.workspace is not None
        assert await sql(fork.workspace, "SELECT array_agg(x) FROM t") == "{1,2}"
        await sql(fork.workspace, "INSERT INTO t VALUES (3)")
        await ws.checkpoints.restore(mark)
        assert await sql(ws, "SELECT array_agg(x) FROM t") == "{1}"
        await ws.stop(grace=5)
        await ws.start()
        assert await sql(ws, "SELECT array_agg(x) FROM t") == "{1}"
        numbers = raw.labelled(f"{LABEL_WORKSPACE}={ws.id}")["containers"]
        assert len(numbers) == 2
        for name in ("a", "b"):
            await nx.destroy(name, force=True)
    assert on_engine(raw, repository) == NOTHING
    assert await leftovers(bench) == []
