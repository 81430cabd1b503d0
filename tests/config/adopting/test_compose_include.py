"""``include`` and ``extends`` across compose files: whose folder and variables count, what is refused, and where it is said."""

from __future__ import annotations

import pytest

from nexus.config import ConfigStack, project_template
from nexus.errors import ConfigError
from tests.config.adopting.adopted_corpus import meaning
from tests.config.conftest import Site

SHOP = {
    "compose.yaml": """\
include:
  - infra/compose.yaml
  - path: [infra/cache/base.yaml, infra/cache/more.yaml]
    project_directory: data
    env_file: [infra/cache.env]
services:
  app:
    image: app
    depends_on: {db: {condition: service_started}}
    volumes: ["./src:/src"]
  worker:
    extends: {file: infra/common/worker.yaml, service: worker}
    environment: {ROLE: shop}
volumes: {pg: {}}
""",
    ".env": "TAG=16\nWHO=main\n",
    "infra/compose.yaml": """\
include: [deeper/mail.yaml]
services:
  db:
    image: postgres:${TAG}
    environment: {WHO: "${WHO}", OWN: "${OWN}"}
    env_file: db.env
    build: .
    volumes: ["pg:/var/lib", "./init:/init:ro", {type: bind, source: seeds, target: /seeds}]
    secrets: [password]
secrets: {password: {file: ./password}}
volumes: {pg: {}}
""",
    "infra/.env": "TAG=9\nOWN=of-infra\n",
    "infra/db.env": "FROM_FILE=yes\n",
    "infra/deeper/mail.yaml": "services: {mail: {build: {dockerfile: D}, env_file: [{path: m.env}]}}\n",
    "infra/deeper/m.env": "M=1\n",
    "infra/cache/base.yaml": "services: {cache: {image: 'redis:${CACHE}', volumes: ['./dump:/data']}}\n",
    "infra/cache/more.yaml": "services: {cache: {environment: {LAYER: more}}}\n",
    "infra/cache.env": "CACHE=7\n",
    "infra/common/worker.yaml": """\
services:
  base: {image: "worker:${TAG}", env_file: [w.env], environment: {ROLE: base, LEVEL: base}}
  worker: {extends: base, volumes: ["../../shared:/shared", "./here:/here"], environment: {LEVEL: worker}}
""",
    "infra/common/w.env": "W=1\n",
}


def lay(site: Site, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = site.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def refused(site: Site, files: dict[str, str]) -> list[str]:
    lay(site, files)
    with pytest.raises(ConfigError) as caught:
        site.load()
    return [problem.removeprefix(f"{site.root}/") for problem in caught.value.problems]


def listed(stack: ConfigStack, site: Site) -> list[str]:
    assert stack.adopted is not None
    return [str(entry).removeprefix(f"{site.root}/") for entry in stack.adopted.unsupported]


def test_what_is_included_counts_from_its_own_folder_with_its_own_variables(site: Site) -> None:
    lay(site, SHOP)
    stack = site.load()
    assert stack.get("services.db") == {
        "build": {"context": "./infra"},
        # The including project's variables rank before those of the included one.
        "env": {"FROM_FILE": "yes", "WHO": "main", "OWN": "of-infra"},
        "volumes": [
            "pg:/var/lib",
            "./infra/init:/init:ro",
            "./infra/seeds:/seeds",
            "./infra/password:/run/secrets/password:ro",
        ],
    }
    assert stack.get("services.mail") == {"build": {"context": "./infra/deeper", "dockerfile": "D"}, "env": {"M": "1"}}
    assert stack.get("services.cache") == {
        "image": "redis:7",
        "env": {"LAYER": "more"},
        "volumes": ["./data/dump:/data"],
    }
    assert stack.get("services.worker") == {
        "image": "worker:16",
        "env": {"W": "1", "ROLE": "shop", "LEVEL": "worker"},
        "volumes": ["./shared:/shared", "./infra/common/here:/here"],
    }
    assert stack.get("services.app.volumes") == ["./src:/src"]
    place = stack.explain("services.cache.env.LAYER").layers[-1].place
    assert place == f"{site.root}/infra/cache/more.yaml:1:41"
    secret = "is the file of the workspace's tree: one that git ignores has to be named in '.worktreeinclude'"
    assert listed(stack, site) == [
        "infra/compose.yaml:4:12: 'services.db.image' only names what 'build' builds, which has a name of its own here",
        f"infra/compose.yaml:9:15: 'services.db.secrets[0]' {secret}",
    ]


def test_the_written_file_means_the_same(site: Site) -> None:
    lay(site, SHOP)
    direct = site.load()
    site.project(project_template(site.root, adopted="compose"))
    assert meaning(site.load().settings) == meaning(direct.settings)


def test_a_dev_containers_compose_files_may_include_too(site: Site) -> None:
    dev = '{"dockerComposeFile": "compose.yaml", "service": "app"}'
    lay(
        site,
        {
            ".devcontainer/devcontainer.json": dev,
            ".devcontainer/compose.yaml": "include: [../infra/c.yaml]\nservices: {app: {image: app, user: node}}\n",
            "infra/c.yaml": "services: {db: {image: db, volumes: ['./d:/d']}}\n",
        },
    )
    stack = site.load()
    assert stack.get("services") == {"db": {"image": "db", "volumes": ["./infra/d:/d"]}}
    assert stack.get("defaults.remote_user") == "node"


def test_the_same_file_twice_is_once(site: Site) -> None:
    lay(
        site,
        {
            "compose.yaml": "include: [a.yaml, b.yaml]\nservices: {x: {image: x}}\n",
            "a.yaml": "include: [c.yaml]\nservices: {a: {image: a}}\n",
            "b.yaml": "include: [c.yaml]\nservices: {b: {image: b}}\n",
            "c.yaml": "services: {c: {image: c}}\n",
        },
    )
    assert sorted(site.load().settings.model_dump()["services"], key=lambda one: one["name"])[2]["name"] == "c"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            {"compose.yaml": "include:\n  - a.yaml\n", "a.yaml": "include:\n  - path: compose.yaml\n"},
            "a.yaml:2:11: 'include[0]' goes round in a circle: compose.yaml → a.yaml → compose.yaml",
            id="a circle",
        ),
        pytest.param(
            {"compose.yaml": "include: [compose.yaml]\n"},
            "compose.yaml:1:11: 'include[0]' goes round in a circle: compose.yaml → compose.yaml",
            id="itself",
        ),
        pytest.param(
            {"compose.yaml": "include: [gone.yaml]\n"}, "compose.yaml:1:11: 'gone.yaml' does not exist", id="not there"
        ),
        pytest.param(
            {"compose.yaml": "include: [{path: a.yaml, env_file: x.env}]\n", "a.yaml": "services: {a: {image: a}}\n"},
            "compose.yaml:1:36: 'x.env' does not exist",
            id="variables that are not there",
        ),
        pytest.param(
            {"compose.yaml": "include: a.yaml\n"}, "compose.yaml:1:10: 'include' must be a list, not text", id="no list"
        ),
        pytest.param(
            {"compose.yaml": "include: [{env_file: x}]\n"},
            "compose.yaml:1:11: 'include[0].path' must be a path, or a list of paths",
            id="no path",
        ),
        pytest.param(
            {
                "compose.yaml": "include: [a.yaml]\nservices: {db: {image: one}}\n",
                "a.yaml": "services: {db: {image: two}}\n",
            },
            "a.yaml:1:12: 'services.db' is also in ROOT/compose.yaml:2:16, and what is included is not laid over what includes it",
            id="two of one name",
        ),
        pytest.param(
            {"compose.yaml": "services:\n  a: {extends: {file: gone.yaml, service: x}}\n"},
            "compose.yaml:2:23: 'gone.yaml' does not exist",
            id="a file to extend that is not there",
        ),
        pytest.param(
            {"compose.yaml": "include: [.git/config]\n"},
            ".git/config:1:1: no file may be read from .git",
            id="not ours to read",
        ),
    ],
)
def test_what_cannot_be_put_together_is_refused_with_the_place(
    site: Site, files: dict[str, str], expected: str
) -> None:
    assert [problem.replace(str(site.root), "ROOT") for problem in refused(site, files)] == [expected]


@pytest.mark.parametrize(
    ("extends", "more", "reason"),
    [
        ("a", {}, "it goes round in a circle (a → a)"),
        ("{service: b}", {}, "there is no service 'b'"),
        ("{file: o.yaml, service: b}", {"o.yaml": "services: {c: {image: c}}\n"}, "there is no service 'b' in 'o.yaml'"),
        ("{file: o.yaml, service: b}", {"o.yaml": "name: x\n"}, "'o.yaml' has no services that can be read"),
        ("{file: ../o.yaml, service: b}", {}, "the file lies outside the project, which a clone cannot ask for"),
        ("{file: /etc/passwd, service: b}", {}, "the file lies outside the project, which a clone cannot ask for"),
        ("{file: o.yaml}", {}, "it does not say which service"),
        ("{file: [o], service: b}", {}, "its file is no path"),
        (
            "{file: o.yaml, service: b}",
            {"o.yaml": "services: {b: {extends: {file: p.yaml, service: c}}}\n",
             "p.yaml": "services: {c: {extends: {file: o.yaml, service: b}}}\n"},
            "it goes round in a circle (b → c → b)",
        ),
        (
            "s0",
            {"compose.override.yaml": "services:\n" + "".join(f"  s{n}: {{extends: s{n + 1}}}\n" for n in range(200))},
            "more than 32 services stand behind it",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_extended_is_not_run_and_listed_with_the_place(
    site: Site, extends: str, more: dict[str, str], reason: str
) -> None:
    lay(site, {"compose.yaml": f"services:\n  a: {{extends: {extends}}}\n  z: {{image: z}}\n", **more})
    stack = site.load()
    services = stack.get("services")
    assert isinstance(services, dict)
    assert set(services) == {"z"}
    expected = (
        f"compose.yaml:2:7: 'services.a.extends' is not followed, so the service is not run: {reason}; "
        "only services of files of the project can be extended"
    )
    assert expected in listed(stack, site)


def test_a_link_out_of_the_project_is_not_followed(site: Site) -> None:
    outside = site.home / "secret.yaml"
    outside.write_text("services: {s: {image: s}}\n")
    (site.root / "link.yaml").symlink_to(outside)
    (problem,) = refused(site, {"compose.yaml": "include: [link.yaml]\n"})
    assert "link.yaml" in problem
    assert "image" not in problem


def test_files_that_include_more_and_more_end(site: Site) -> None:
    """Each of twenty files includes the next one twice, which would be a million of them."""
    files = {f"f{n}.yaml": f"include: [f{n + 1}.yaml, ./f{n + 1}.yaml]\n" for n in range(20)}
    problems = refused(
        site, {"compose.yaml": "include: [f0.yaml]\n", "f20.yaml": "services: {x: {image: x}}\n", **files}
    )
    assert len(problems) == 1
    assert problems[0].endswith("more than 32 files are included; this one is not read")
