"""Files as projects have them, what they come to, and what of them is listed as unsupported."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import JsonValue

from nexus.config import Settings

DEV = ".devcontainer/devcontainer.json"


def meaning(settings: Settings) -> dict[str, object]:
    """The settings without where their secrets are named, which is all that a file of ours has otherwise."""
    bare = tuple(reference.model_copy(update={"place": ""}) for reference in settings.secrets)
    return settings.model_copy(update={"secrets": bare}).model_dump()


@dataclass(frozen=True)
class Case:
    files: dict[str, str]
    values: dict[str, JsonValue]
    unsupported: set[str] = field(default_factory=set)


DEVCONTAINERS: dict[str, Case] = {
    "an image and nothing else": Case(
        {DEV: '{"image": "mcr.microsoft.com/devcontainers/base:ubuntu"}'},
        {"defaults.image": "mcr.microsoft.com/devcontainers/base:ubuntu", "ports": None, "scripts.post-create": None},
    ),
    "the template of an editor, comments and all": Case(
        {
            DEV: """\
// For format details, see https://aka.ms/devcontainer.json. For config options, see the README
{
\t"name": "Node.js & TypeScript",
\t// Or use a Dockerfile or Docker Compose file.
\t"image": "mcr.microsoft.com/devcontainers/typescript-node:1-22-bookworm",

\t// Features to add to the dev container. More info: https://containers.dev/features.
\t// "features": {},
\t// Use 'forwardPorts' to make a list of ports inside the container available locally.
\t"forwardPorts": [3000],
\t/* Use 'postCreateCommand' to run commands after the container is created. */
\t"postCreateCommand": "yarn install", // a trailing comma is next
\t"customizations": {"vscode": {"extensions": ["dbaeumer.vscode-eslint",],},},
}
"""
        },
        {
            "workspace.display_name": "Node.js & TypeScript",
            "ports.web.container": 3000,
            "scripts.post-create.run": "# postCreateCommand\nsh -c 'yarn install'\n",
        },
    ),
    "a Dockerfile of its own, with arguments and a stage": Case(
        {
            DEV: """{"build": {"dockerfile": "Dockerfile", "context": "..", "target": "dev", "cacheFrom": "ghcr.io/a/b",
              "args": {"VARIANT": "3.12", "WHO": "${localEnv:USER:dev}", "TOKEN": "${localEnv:TOKEN}"}}}"""
        },
        {
            "defaults.dockerfile": "./.devcontainer/Dockerfile",
            "defaults.build": {"context": ".", "target": "dev", "args": {"VARIANT": "3.12", "WHO": "dev"}},
        },
        {"build.cacheFrom", "build.args.WHO", "build.args.TOKEN"},
    ),
    "the older spelling of a build": Case(
        {
            ".devcontainer.json": '{"dockerFile": "docker/Dockerfile.dev", "context": "docker", "appPort": [8080, "9000:9001"]}'
        },
        {
            "defaults.dockerfile": "./docker/Dockerfile.dev",
            "defaults.build.context": "./docker",
            "ports": {"web": {"container": 8080}, "port-9001": {"container": 9001}},
        },
        {"appPort[1]"},
    ),
    "features and a user of its own": Case(
        {
            DEV: """{"image": "debian:12", "features": {"ghcr.io/devcontainers/features/node:1": {"version": "20"}},
              "remoteUser": "vscode", "containerUser": "vscode", "updateRemoteUserUID": true, "init": true,
              "overrideCommand": true, "shutdownAction": "none", "privileged": false, "runArgs": [],
              "capAdd": ["SYS_PTRACE"], "securityOpt": ["seccomp=unconfined"], "whatIsThis": 1}"""
        },
        {"defaults.image": "debian:12", "defaults.remote_user": "vscode"},
        {"features", "shutdownAction", "capAdd", "securityOpt", "whatIsThis"},
    ),
    "a user that is only named for the container": Case(
        {
            DEV: """{"image": "debian:12", "containerUser": "node", "updateRemoteUserUID": false, "userEnvProbe": "none"}"""
        },
        {"defaults.remote_user": "node"},
        {"updateRemoteUserUID"},
    ),
    "another user than the container's own": Case(
        {
            DEV: """{"image": "debian:12", "containerUser": "${localEnv:WHO:builder}", "remoteUser": "vscode",
              "userEnvProbe": "loginInteractiveShell"}"""
        },
        {"defaults.remote_user": "vscode"},
        {"containerUser", "userEnvProbe"},
    ),
    "root, and numbers": Case(
        {DEV: """{"image": "debian:12", "remoteUser": "root", "containerUser": "1000:1000"}"""},
        {"defaults.remote_user": None},
        {"remoteUser", "containerUser"},
    ),
    "named ports": Case(
        {
            DEV: """{"image": "a", "forwardPorts": [3000, 5173, "localhost:9229", "db:5432"], "portsAttributes": {
              "3000": {"label": "Web App", "onAutoForward": "openBrowser", "visibility": "public"},
              "9229": {"requireLocalPort": true}, "3100-3200": {"label": "x"}}, "otherPortsAttributes": {"onAutoForward": "ignore"}}"""
        },
        {
            "ports": {
                "web-app": {"container": 3000, "visibility": "public"},
                "port-5173": {"container": 5173},
                "port-9229": {"container": 9229, "host": 9229},
            }
        },
        {"forwardPorts[3]", "portsAttributes.3000.onAutoForward", "portsAttributes.3100-3200", "otherPortsAttributes"},
    ),
    "variables": Case(
        {
            DEV: """{"image": "a", "name": "${localWorkspaceFolderBasename} here",
              "containerEnv": {"A": "1", "H": "${localEnv:HOME}", "D": "${localEnv:LEVEL:info}"},
              "remoteEnv": {"B": "${containerEnv:A}2", "PATH": "${containerEnv:PATH}:/x", "W": "${containerWorkspaceFolder}/y",
                            "Z": null, "I": "${devcontainerId}", "U": "${unknown:x}"}}"""
        },
        {
            "workspace.display_name": "app here",
            "env": {"A": "1", "D": "info", "B": "12", "I": "workspace", "U": "${unknown:x}"},
            "secrets.named.H": {"source": "env", "var": "HOME", "required": False},
        },
        {"containerEnv.D", "remoteEnv.PATH", "remoteEnv.W", "remoteEnv.Z"},
    ),
    "mounts in both forms": Case(
        {
            DEV: """{"image": "a", "mounts": [
              "source=modules-${devcontainerId},target=/modules,type=volume",
              {"source": "cache", "target": "/cache", "type": "volume"},
              "source=${localWorkspaceFolder}/data,target=/data,type=bind,consistency=cached",
              "source=/var/run/docker.sock,target=/var/run/docker.sock,type=bind",
              "source=${localEnv:HOME}/.ssh,target=/root/.ssh,type=bind,readonly",
              "source=${localWorkspaceFolder}/../other,target=/other,type=bind",
              "type=tmpfs,target=/scratch",
              "source=m,target=${containerWorkspaceFolder}/node_modules,type=volume"],
              "workspaceMount": "source=${localWorkspaceFolder},target=/w,type=bind", "workspaceFolder": "/w"}"""
        },
        {"volumes": ["modules-workspace:/modules", "cache:/cache", "./data:/data"]},
        {"mounts[3]", "mounts[4]", "mounts[5]", "mounts[6]", "mounts[7]", "workspaceMount", "workspaceFolder"},
    ),
    "every command in every form": Case(
        {
            DEV: """{"image": "a", "initializeCommand": "rm -rf ~", "onCreateCommand": "echo one",
              "updateContentCommand": ["echo", "two words", "it's"],
              "postCreateCommand": {"server": "echo three", "client": ["echo", "four"]},
              "postStartCommand": "cd '${containerWorkspaceFolder}' && ./up", "postAttachCommand": "x", "waitFor": "onCreateCommand"}"""
        },
        {
            "scripts.initialize.run": "# initializeCommand\nsh -c 'rm -rf ~'\n",
            "scripts.post-create.run": """\
# onCreateCommand
sh -c 'echo one'
# updateContentCommand
echo 'two words' 'it'"'"'s'
# postCreateCommand
sh -c 'echo three' & job1=$!
echo four & job2=$!
failed=0
wait "$job1" || failed=$?
wait "$job2" || failed=$?
[ "$failed" -eq 0 ]
""",
        },
        {"postAttachCommand", "waitFor"},
    ),
    "what the host must have": Case(
        {DEV: '{"image": "a", "hostRequirements": {"cpus": 4, "memory": "8gb", "storage": "32gb", "gpu": "optional"}}'},
        {"defaults.resources": {"cpu": {"cores": 4.0}, "memory": {"bytes": 8 << 30}, "storage": {"bytes": 32 << 30}}},
        {"hostRequirements.gpu"},
    ),
    "one of its own folder": Case(
        {".devcontainer/python/devcontainer.json": '{"image": "python:3.12"}'}, {"defaults.image": "python:3.12"}
    ),
    "beside compose files": Case(
        {
            DEV: """{"dockerComposeFile": ["../docker-compose.yml", "compose.extra.yml"], "service": "app",
              "runServices": ["db"], "workspaceFolder": "/workspace", "forwardPorts": [3000, "db:5432"],
              "containerEnv": {"MODE": "dev"}, "postCreateCommand": "true"}""",
            ".devcontainer/compose.extra.yml": """\
services:
  app:
    build: {context: ., dockerfile: .devcontainer/Dockerfile}
    command: sleep infinity
    volumes: [".:/workspace:cached", "gems:/gems"]
    environment: [MODE=prod, DATABASE_URL=postgres://db/x]
    depends_on: [db]
    user: "1000"
""",
            "docker-compose.yml": """\
services:
  app: {image: "x", ports: ["3000:3000"]}
  db: {image: "postgres:16"}
  mail: {image: "mailhog"}
""",
        },
        {
            "defaults.dockerfile": "./.devcontainer/Dockerfile",
            "defaults.build": {"context": "."},
            "env": {"MODE": "dev", "DATABASE_URL": "postgres://db/x"},
            "ports": {"web": {"container": 3000}},
            "volumes": ["gems:/gems"],
            "services": {"db": {"image": "postgres:16", "ports": ["5432"]}},
        },
        {"workspaceFolder", "services.app.image", "services.app.volumes[0]", "services.app.user"},
    ),
}

COMPOSES: dict[str, Case] = {
    "one image": Case(
        {"compose.yaml": "services:\n  redis:\n    image: redis:7\n"}, {"services": {"redis": {"image": "redis:7"}}}
    ),
    "a shop": Case(
        {
            "docker-compose.yml": """\
version: "3.9"
name: shop
services:
  db:
    image: postgres:16
    environment: {POSTGRES_USER: shop, POSTGRES_DB: shop}
    ports: ["5432:5432"]
    volumes: [pg:/var/lib/postgresql/data]
    healthcheck: {test: ["CMD", "pg_isready"], interval: 1m30s, timeout: 5s, retries: 5, start_period: 1s}
  api:
    build: .
    command: python -m 'my app'
    depends_on: {db: {condition: service_healthy, restart: true}}
    ports: [8000]
    networks: [back]
networks: {back: {}}
volumes: {pg: {driver: local}}
"""
        },
        {
            "services.db": {
                "image": "postgres:16",
                "env": {"POSTGRES_USER": "shop", "POSTGRES_DB": "shop"},
                "ports": ["5432:5432"],
                "volumes": ["pg:/var/lib/postgresql/data"],
                "healthcheck": {
                    "test": ["CMD", "pg_isready"],
                    "interval": "1m30s",
                    "timeout": "5s",
                    "retries": 5,
                    "start_period": "1s",
                },
            },
            "services.api": {
                "build": {"context": "."},
                "command": ["python", "-m", "my app"],
                "depends_on": {"db": {"condition": "service_healthy"}},
                "ports": ["8000"],
            },
        },
        {"services.api.depends_on.db.restart", "services.api.networks"},
    ),
    "anchors and merge keys": Case(
        {
            "compose.yml": """\
x-base: &base
  restart: unless-stopped
  environment: &env {LOG: info, ZONE: UTC}
services:
  one: {<<: *base, image: a}
  two:
    <<: [*base]
    image: b
    environment: {<<: *env, LOG: debug}
"""
        },
        {
            "services.one": {"image": "a", "env": {"LOG": "info", "ZONE": "UTC"}, "restart": "unless-stopped"},
            "services.two": {"image": "b", "env": {"LOG": "debug", "ZONE": "UTC"}, "restart": "unless-stopped"},
        },
    ),
    "variables from .env": Case(
        {
            ".env": "TAG=16-alpine # which\nexport NAME='a $TAG'\nBOTH=\"${TAG}-${NAME}\"\nPORT=8081\n",
            "compose.yaml": """\
services:
  a:
    image: postgres:${TAG:-15}
    environment: {N: "$NAME", B: "${BOTH}", C: "$$x", D: "${NOPE:-d${TAG}}", E: "[${NOPE}]", F: "${TAG:+set}", G: "${NOPE+x}"}
    ports: ["${PORT}:80"]
""",
        },
        {
            "services.a": {
                "image": "postgres:16-alpine",
                "env": {
                    "N": "a $TAG", "B": "16-alpine-a $TAG", "C": "$x", "D": "d16-alpine", "E": "[]", "F": "set", "G": "",
                },
                "ports": ["8081:80"],
            }
        },
        {"NOPE"},
    ),
    "ports of every kind": Case(
        {
            "compose.yaml": """\
services:
  a:
    image: a
    expose: [1]
    ports:
      - "127.0.0.1:8080:80"
      - 3000-3002:4000-4002
      - "53:53/udp"
      - {target: 90, published: "9090", protocol: tcp, mode: host}
      - "0.0.0.0:81:81"
"""
        },
        {
            "services.a.ports": [
                "8080:80", "3000:4000", "3001:4001", "3002:4002", "53:53/udp", "9090:90", "81:81",
            ]
        },
        {"services.a.ports[3].mode", "services.a.ports[4]"},
    ),
    "volumes of every kind": Case(
        {
            "compose.yaml": """\
services:
  a:
    image: a
    volumes:
      - data:/data
      - ./conf:/conf:ro,z
      - /anonymous/one
      - {type: bind, source: src, target: /src, read_only: true}
      - {type: volume, source: data, target: /again, volume: {nocopy: true}}
      - {type: tmpfs, target: /t}
      - /etc/passwd:/etc/passwd:ro
      - ~/.ssh:/ssh
      - ../up:/up
      - data2:/data
volumes: {data: , data2: {external: true}}
"""
        },
        {"services.a.volumes": ["./conf:/conf:ro", "a-anonymous-one:/anonymous/one", "./src:/src:ro", "data:/again", "data2:/data"]},
        {"services.a.volumes[4].volume", *(f"services.a.volumes[{n}]" for n in (5, 6, 7, 8)), "volumes.data2.external"},
    ),
    "profiles": Case(
        {
            ".env": "COMPOSE_PROFILES=tools, more\n",
            "compose.yaml": """\
services:
  app: {image: a, depends_on: [debug, tool]}
  tool: {image: t, profiles: [tools]}
  debug: {image: d, profiles: [debug]}
""",
        },
        {"services": {"app": {"image": "a", "depends_on": {"tool": {"condition": "service_started"}}}, "tool": {"image": "t"}}},
        {"services.debug", "services.app.depends_on.debug"},
    ),
    "files of variables": Case(
        {
            "a.env": "A=file\nB=file\nHOST\n",
            "compose.yaml": """\
services:
  a:
    image: a
    env_file: [a.env, {path: missing.env, required: false}, gone.env, ../out.env]
    environment: [B=own, C=, D]
""",
        },
        {"services.a.env": {"A": "file", "B": "own", "C": ""}},
        {"gone.env", "services.a.env_file", "services.a.environment.D"},
    ),
    "an override beside it": Case(
        {
            "compose.yml": "services:\n  a: {image: a, command: [x], environment: [A=1, B=1], ports: ['80:80']}\n",
            "compose.override.yml": "services:\n  a: {command: y z, environment: {B: 2}, ports: ['81:81']}\n  b: {image: b}\n",
        },
        {
            "services": {
                "a": {"image": "a", "command": ["y", "z"], "env": {"A": "1", "B": "2"}, "ports": ["80:80", "81:81"]},
                "b": {"image": "b"},
            }
        },
    ),
    "services that ask for too much": Case(
        {
            "compose.yaml": """\
include: ["oci://registry/other", ../up.yaml, "https://example.org/c.git"]
secrets: {s: {file: ./s}}
services:
  a: {image: a, privileged: true, network_mode: host, cap_add: [ALL], devices: [/dev/kvm], pid: host, secrets: [s], init: true}
  b: {image: b, network_mode: "service:a", restart: no, tty: false, labels: {x: y}, container_name: b, deploy: {replicas: 2}}
  c: {extends: {file: ../other.yaml, service: a}}
  D.x: {image: d}
  e: {build: ../elsewhere}
  f: {build: {context: ., dockerfile_inline: FROM a}}
  g: {build: {context: ./g, dockerfile: ../Dockerfile}}
  i: {image: i, healthcheck: {disable: true}, depends_on: [e], ports: [70]}
  j: {image: j, ports: [70]}
"""
        },
        {
            "services": {
                "a": {"image": "a", "volumes": ["./s:/run/secrets/s:ro"]},
                "b": {"image": "b", "restart": "no"},
                "i": {"image": "i", "healthcheck": {"test": ["NONE"]}, "depends_on": {}, "ports": ["70"]},
            }
        },
        {
            *(f"include[{number}]" for number in range(3)),
            *(f"services.a.{key}" for key in ("privileged", "network_mode", "cap_add", "devices", "pid")),
            "services.a.secrets[0]", *(f"services.b.{key}" for key in ("labels", "container_name", "deploy.replicas")),
            "services.c.extends", "services.D.x", "services.e", "services.e.build", "services.f", "services.f.build.dockerfile_inline",
            "services.g", "services.g.build.dockerfile", "services.i.depends_on.e", "services.j",
        },
    ),
}  # fmt: skip
COMPOSES["what services share, extend and may use"] = Case(
    {
        "compose.yaml": """\
networks: {front: {}, back: {driver: bridge, internal: true}}
secrets: {token: {file: ./private/token}, gone: {environment: TOKEN}, far: {file: ../far}}
configs: {conf: {file: ./etc/app.conf}}
services:
  base: {image: base, profiles: [never], environment: {LOG: info, ZONE: UTC}, ports: [1000], depends_on: [web]}
  web:
    extends: {service: base}
    networks: [front, back]
    environment: [LOG=debug]
    secrets: [token, {source: gone, target: x}, far, {source: token, target: /etc/token, mode: 0400}]
    configs: [conf]
    volumes: ["./data:/data"]
    deploy: {replicas: 2, resources: {limits: {cpus: "0.5", memory: 512m, pids: 5}, reservations: {cpus: "1"}}}
  db: {image: db, networks: {back: {aliases: [database]}}, mem_limit: 1gb, cpus: 2}
  a: {image: a, extends: b}
  b: {image: b, extends: {service: a}}
"""
    },
    {
        "services": {
            "web": {
                "image": "base",
                "env": {"LOG": "debug", "ZONE": "UTC"},
                "ports": ["1000"],
                "volumes": [
                    "./data:/data",
                    "./private/token:/run/secrets/token:ro",
                    "./private/token:/etc/token:ro",
                    "./etc/app.conf:/conf:ro",
                ],
                "cpu": 0.5,
                "memory": 512 * 1024**2,
            },
            "db": {"image": "db", "cpu": 2.0, "memory": 1024**3},
        }
    },
    {
        "networks.back.internal", "services.db.networks.back.aliases", "services.base", "services.a.extends", "services.b.extends",
        *(f"services.web.secrets[{number}]" for number in range(4)), "services.web.secrets[3].mode",
        "services.web.deploy.replicas", "services.web.deploy.resources.limits.pids",
        "services.web.deploy.resources.reservations.cpus",
    },
)  # fmt: skip
DEVCONTAINERS["a name for each platform"] = Case(
    {".devcontainer/a/devcontainer.json": '{"image": "a"}', ".devcontainer/b/devcontainer.json": '{"image": "b"}'},
    {"defaults.image": "nexus-workspace:latest"},
)
COMPOSES["h says nothing that could run"] = Case(
    {"compose.yaml": "services:\n  h: {}\n  i: {image: i}\n"}, {"services": {"i": {"image": "i"}}}, {"services.h"}
)
