"""What a node's and a user's file say about the daemon, shared machines, editors and remote backends: text and place of each rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.config import ConfigStack, Problem
from nexus.config.addresses import is_host, is_loopback
from nexus.errors import ConfigError, InvalidArgument, ProviderNotFound
from nexus.models.editors import EDITOR_NAMES, check_editor, editor_command
from nexus.ports.plan import BLOCK
from nexus.providers.registry import ProviderRegistry
from tests.config.conftest import Site


@pytest.mark.parametrize(
    ("level", "text", "problem"),
    [
        ("node", "daemon: {port: 70000}", "1:16: 'daemon.port' must be at most 65535, not 70000"),
        ("node", "daemon: {port: 32770}", "1:16: 'daemon.port' is 32770; Nexus keeps 32768-32799 for workspaces"),
        (
            "node",
            "daemon: {host: 'here:80'}",
            "1:16: 'daemon.host' must be an IP address or a host's name, without a port",
        ),
        ("node", "daemon: {host: 1.2.3}", "1:16: 'daemon.host' must be an IP address or a host's name"),
        (
            "node",
            "daemon: {origins: [editor.example]}",
            "1:20: 'daemon.origins' must be what a browser calls the origin",
        ),
        (
            "node",
            "daemon: {origins: ['https://a.example/x']}",
            "1:20: 'daemon.origins' must be what a browser calls",
        ),
        ("node", "daemon: {domains: ['*.a.example']}", "1:20: 'daemon.domains' must be a host's name or address"),
        ("node", "daemon: {drain: 0s}", "1:17: 'daemon.drain' must be longer than zero"),
        ("node", "daemon: {tls: {cert: /c}}", "1:22: 'daemon.tls.cert' needs 'daemon.tls.key' beside it"),
        ("node", "daemon: {tls: {key: /k}}", "1:21: 'daemon.tls.key' needs 'daemon.tls.cert' beside it"),
        ("node", "daemon: {tls: {key: k, cert: /c}}", "1:21: 'daemon.tls.key' must be an absolute path"),
        (
            "node",
            "multi_user: {auth: {method: ldap}}",
            "1:29: 'multi_user.auth.method' must be 'unix'; it cannot be 'ldap'",
        ),
        (
            "node",
            "multi_user: {auth: {method: sso}}",
            "1:29: 'multi_user.auth.method' must be 'unix'; it cannot be 'sso'",
        ),
        ("node", "multi_user: {auth: {method: pam}}", "1:29: 'multi_user.auth.method' must be 'unix'"),
        ("node", "multi_user: {auth: {method: 3}}", "1:29: 'multi_user.auth.method' must be text, not 3"),
        (
            "node",
            "multi_user: {isolation: {networks: false}}",
            "1:36: 'multi_user.isolation.networks' must be true: every workspace has a network of its own",
        ),
        ("node", "multi_user: {isolation: {volumes: false}}", "1:35: 'multi_user.isolation.volumes' must be true"),
        ("node", "multi_user: {workspace_root: here}", "1:30: 'multi_user.workspace_root' must be an absolute path"),
        (
            "user",
            "preferences: {theme: pink}",
            "1:22: 'preferences.theme' must be 'auto', 'dark', 'light' or 'none', not 'pink'",
        ),
        (
            "user",
            "preferences: {default_editor: curser}",
            "1:31: 'preferences.default_editor' cannot be used: 'curser' is no editor that is known; perhaps you meant 'cursor'",
        ),
        (
            "user",
            "backends: {docker: {socket: docker.sock}}",
            "1:29: 'backends.docker.socket' must be a container engine's socket or address: /var/run/docker.sock",
        ),
        ("user", "backends: {docker: {socket: 'ssh://me@there'}}", "must not be an engine behind ssh"),
        ("user", "backends: {docker: {socket: 'tcp://me:secret@there'}}", "must not hold a name or a password"),
        ("user", "backends: {docker: {socket: 'tcp://there:port'}}", "must be a container engine's socket or address"),
        (
            "user",
            "backends: {sprite: {api_endpoint: 'ftp://x'}}",
            "1:35: 'backends.sprite.api_endpoint' must be a web address such as https://api.sprites.dev",
        ),
        ("user", "backends: {sprite: {region: US East}}", "1:29: 'backends.sprite.region' must be lower-case letters"),
        (
            "user",
            "backends: {kubernetes: {namespace: A_B}}",
            "'backends.kubernetes.namespace' must be lower-case letters",
        ),
        ("user", "backends: {kubernetes: {cluster: x}}", "1:25: unknown key 'backends.kubernetes.cluster'"),
    ],
)
def test_wrong_values_are_named_with_their_place(site: Site, level: str, text: str, problem: str) -> None:
    getattr(site, level)(text)
    (line,) = site.problems()
    assert line.startswith(f"{level}:")
    assert problem in line


class TestDaemon:
    def test_without_a_word_about_it_its_port_is_anybodys(self, site: Site) -> None:
        site.project("ports: {web: {container: 8080, host: 8080}}\n")
        settings = site.load().settings
        assert (settings.daemon.host, settings.daemon.port, settings.daemon.tls) == ("127.0.0.1", 8080, None)
        assert not settings.daemon.tcp

    @pytest.mark.parametrize("text", ["{port: 8080}", "{host: 127.0.0.1}", "{tls: {cert: /c, key: /k}}"])
    def test_saying_where_is_asking_for_it(self, site: Site, text: str) -> None:
        site.node(f"daemon: {text}")
        assert site.load().settings.daemon.tcp

    def test_a_page_takes_a_port(self, site: Site) -> None:
        site.node("daemon: {page: true}")
        daemon = site.load().settings.daemon
        assert (daemon.page, daemon.tcp) == (True, True)

    def test_no_page_takes_none(self, site: Site) -> None:
        site.node("daemon: {page: false}")
        daemon = site.load().settings.daemon
        assert (daemon.page, daemon.tcp) == (False, False)

    @pytest.mark.parametrize("level", ["project", "user"])
    def test_a_clone_shows_no_page(self, site: Site, level: str) -> None:
        getattr(site, level)("daemon: {page: true}")
        assert site.problems()

    def test_everything_about_it(self, site: Site) -> None:
        site.node("daemon: {insecure: true, origins: [https://a.example], domains: [.b.example, 192.0.2.1], drain: 1m}")
        daemon = site.load().settings.daemon
        assert not daemon.tcp
        assert daemon.insecure
        assert daemon.origins == {"https://a.example"}
        assert daemon.domains == {".b.example", "192.0.2.1"}
        assert daemon.drain.total_seconds() == 60

    @pytest.mark.parametrize(("insecure", "then"), [("true", "can be read on the way"), ("false", "refuses to start")])
    def test_what_happens_to_a_daemon_that_others_reach(self, site: Site, insecure: str, then: str) -> None:
        site.node(f"daemon: {{host: 0.0.0.0, insecure: {insecure}}}")
        assert any(then in line for line in site.load().warnings)

    def test_a_fixed_port_of_a_project_that_is_the_daemons(self, site: Site) -> None:
        node = site.node("daemon:\n  port: 8080\n")
        project = site.project(
            "ports: {web: {container: 1, host: 8080}, u: {container: 1, host: 8080, protocol: udp}}\n"
        )
        said = [line for line in site.load().warnings if "daemon's too" in line]
        assert said == [f"{project}:1:35: host port 8080 of 'web' is the daemon's too ({node}:2:9)"]

    @pytest.mark.parametrize(
        ("text", "warned"),
        [
            ("daemon: {host: 0.0.0.0}", True),
            ("daemon: {host: '::'}", True),
            ("daemon: {host: dev.example.com}", True),
            ("daemon: {host: '::1'}", False),
            ("daemon: {host: localhost}", False),
            ("daemon: {host: 0.0.0.0, tls: {cert: /c, key: /k}}", False),
        ],
    )
    def test_what_other_machines_reach_unencrypted_is_said(self, site: Site, text: str, warned: bool) -> None:
        node = site.node(text)
        said = [
            line for line in site.load().warnings if "which other machines reach, and there is no 'daemon.tls'" in line
        ]
        assert bool(said) is warned
        assert all(line.startswith(f"{node}:1:16: ") for line in said)

    def test_paths_in_the_home_folder(self, site: Site) -> None:
        site.node("daemon: {tls: {cert: ~/c.pem, key: ~/k.pem}}\n")
        tls = site.load().settings.daemon.tls
        assert tls is not None
        assert (tls.cert, tls.key) == (site.home / "c.pem", site.home / "k.pem")


class TestSharedNodes:
    @pytest.mark.parametrize(
        ("text", "closed"),
        [
            ("multi_user: {enabled: true}", True),
            ("multi_user: {enabled: true, isolation: {workspaces: true}}", True),
            ("multi_user: {enabled: true, isolation: {workspaces: false}}", False),
            ("multi_user: {enabled: false, isolation: {workspaces: true}}", False),
            ("", False),
        ],
    )
    def test_whether_folders_are_closed(self, site: Site, text: str, closed: bool) -> None:
        site.node(text)
        assert site.load().settings.private_folders is closed

    def test_asking_for_sudo_is_answered_truthfully(self, site: Site) -> None:
        node = site.node("multi_user: {enabled: true, auth: {sudo_access: true}}\n")
        assert site.load().warnings == (
            f"{node}:1:49: 'multi_user.auth.sudo_access' is accepted; no act of this version reaches what belongs to another user",
        )
        site.node("multi_user: {enabled: true, auth: {sudo_access: false}}\n")
        assert site.load().warnings == ()

    def test_what_waits_for_the_switch_says_so(self, site: Site) -> None:
        node = site.node("multi_user: {workspace_root: /srv/w, isolation: {networks: true}}\n")
        off = "changes nothing while 'multi_user.enabled' is not true"
        assert site.load().warnings == (
            f"{node}:1:14: 'multi_user.workspace_root' {off}",
            f"{node}:1:38: 'multi_user.isolation' {off}",
        )
        assert site.load().settings.workspace_root is None
        site.node("multi_user: {enabled: true, workspace_root: /srv/w}\n")
        assert site.load().settings.workspace_root == Path("/srv/w")

    def test_a_limit_for_one_above_that_for_all(self, site: Site) -> None:
        node = site.node("limits: {max_workspaces_per_user: 9, max_workspaces_total: 5}\n")
        assert site.load().warnings == (f"{node}:1:35: one user may have 9 workspaces, but all users together only 5",)


class TestBackendsWithoutDriver:
    @pytest.mark.parametrize("name", ["sprite", "kubernetes"])
    def test_they_are_refused_at_use_and_the_warning_says_so_before(self, site: Site, name: str) -> None:
        user = site.user(f"backends: {{{name}: {{}}}}\n")
        said = f"{user}:1:12: 'backends.{name}' is checked, but this version has no driver for that backend"
        assert said in site.load().warnings
        with pytest.raises(ProviderNotFound, match=f"there is no driver for the {name} backend yet"):
            ProviderRegistry(discover=tuple).load(name)


class TestTelemetry:
    def test_a_consent_is_remembered_and_a_refusal_needs_no_word(self, site: Site) -> None:
        user = site.user("preferences: {telemetry: {enabled: true, share_friction_data: false}}\n")
        assert site.load().warnings == (
            f"{user}:1:36: 'preferences.telemetry.enabled' is remembered; this version records and sends nothing",
        )
        site.user("preferences: {telemetry: {enabled: false}}\n")
        stack = site.load()
        assert (stack.warnings, stack.settings.preferences.telemetry.enabled) == ((), False)


class TestAcrossFiles:
    def validate(self, site: Site, level: str | None = None) -> list[str]:
        found = ConfigStack.validate(
            site.root,
            level=level,  # type: ignore[arg-type] # the names are right
            env={"HOME": str(site.home)},
            node_file=site.node_path,
        )
        names = {site.node_path: "node", site.user_path: "user", site.project_path: "project"}
        lines = [f"{problem.severity} {problem}" for problem in found]
        for path, name in names.items():
            lines = [line.replace(str(path), name) for line in lines]
        return lines

    def test_all_files_at_once_and_each_alone(self, site: Site) -> None:
        site.node("limits: {max_workspaces_total: many}\ndaemon: {port: 32770}\n")
        site.user("defaults: {port_range: {start: 9, end: 8}}\n")
        site.project("ports: {web: {container: 1, host: 32768}}\nnonsense: 1\n")
        assert self.validate(site) == [
            "error node:1:32: 'limits.max_workspaces_total' must be a whole number, not 'many'",
            "error user:1:32: 'defaults.port_range' ends (8) before it starts (9)",
            "error project:2:1: unknown key 'nonsense'",
        ]
        assert [line.split(" ")[1].partition(":")[0] for line in self.validate(site, "node")] == ["node"]
        assert self.validate(site, "user") == ["error user:1:32: 'defaults.port_range' ends (8) before it starts (9)"]
        assert self.validate(site, "project") == ["error project:2:1: unknown key 'nonsense'"]

    def test_what_a_higher_layer_hides_is_still_told(self, site: Site) -> None:
        site.user("defaults: {resources: {cpu: {cores: 4, limit: 2}}}\n")
        site.project("resources: small\n")
        assert site.load().settings.resources.cpu.cores == 1
        assert self.validate(site) == ["error user:1:47: the limit of 2 cores is below the 4 that are asked for"]

    def test_what_is_said_for_another_project_is_looked_at_too(self, site: Site) -> None:
        site.user(
            "project_overrides:\n  shop:\n    ports: {web: {container: 1, host: 32770}}\n    resources: {cpu: 2}\n"
        )
        said = "error user:3:39: 'ports.web.host' is 32770; Nexus keeps 32768-32799 for itself"
        assert self.validate(site) == [said]
        assert self.validate(site, "user") == [said]
        assert site.load().settings.ports == ()

    def test_what_another_layer_completes_is_no_problem(self, site: Site) -> None:
        site.user("defaults: {backend: null}\nproject_overrides: {app: {ports: {web: 3000}}}\n")
        site.project("backend: local\nports: {web: {visibility: private}}\n")
        assert [line for line in self.validate(site) if line.startswith("error")] == []

    def test_a_port_that_two_known_projects_fix(self, site: Site) -> None:
        other = site.home / "code" / "shop"
        (other / ".nexus").mkdir(parents=True)
        theirs = other / ".nexus" / "config.yaml"
        theirs.write_text(
            "ports:\n  web: {container: 80, host: 3000}\n  x: {container: 1, host: 4000, protocol: udp}\n"
        )
        site.user("workspaces: {shop: {path: ~/code/shop}, me: {path: ~/code/app}, gone: {path: ~/gone}}\n")
        site.project("ports: {web: {container: 80, host: 3000}, x: {container: 1, host: 4000}}\n")
        (line,) = self.validate(site)
        said = f"'ports.web.host' is 3000, which project 'shop' fixes too ({theirs}:2:30); only one of them can have it at a time"
        assert line == f"warning project:1:36: {said}"
        theirs.write_text("ports: [\n")  # its own trouble
        assert self.validate(site) == []

    def test_a_fixed_port_in_the_range_that_ports_are_chosen_from(self, site: Site) -> None:
        user = site.user("defaults: {port_range: {start: 34000, end: 36000}}\n")
        site.project("ports: {web: {container: 80, host: 35000}}\n")
        assert self.validate(site) == [
            "warning project:1:36: 'ports.web.host' is in the range that ports are chosen from "
            f"({user}:1:32), so another workspace may have it".replace(str(user), "user")
        ]

    def test_a_range_too_small_for_one_workspace(self, site: Site) -> None:
        site.user(f"defaults: {{port_range: {{start: 34000, end: {34000 + BLOCK - 2}}}}}\n")
        assert self.validate(site) == ["warning user:1:32: the port range holds 9 ports, but a workspace takes 10"]
        site.user(f"defaults: {{port_range: {{start: 34000, end: {34000 + BLOCK - 1}}}}}\n")
        assert self.validate(site) == []

    def test_a_reference_that_leads_nowhere_now(self, site: Site) -> None:
        site.user("project_overrides: {me: {env: {TOKEN: env:GONE}}}\nworkspaces: {me: {path: ~/code/app}}\n")
        assert self.validate(site) == ["warning user:1:39: 'env.TOKEN' refers to the variable GONE, which is not set"]

    def test_a_folder_that_is_none_is_an_error(self, site: Site) -> None:
        with pytest.raises(ConfigError, match="is not a folder"):
            ConfigStack.validate(site.root / "gone", env={"HOME": str(site.home)})

    @pytest.mark.parametrize(
        ("line", "place"),
        [("/a:b/c.yaml:3:4: x: y", "/a:b/c.yaml:3:4"), ("env NEXUS_X: y", "env NEXUS_X"), ("alone", "configuration")],
    )
    def test_a_line_becomes_a_value(self, line: str, place: str) -> None:
        problem = Problem.warning(line)
        assert (str(problem.place), problem.severity) == (place, "warning")
        assert line.endswith(problem.sentence)


class TestHosts:
    @given(st.ip_addresses())
    def test_every_ip_address_is_a_host(self, address: object) -> None:
        assert is_host(str(address))

    @pytest.mark.parametrize(
        "text", ["", "-a", "a-", "a..b", "a b", "a:1", "1.2.3", "300.1.1.1", "x" * 64, "é", "a/b", "."]
    )
    def test_what_is_none(self, text: str) -> None:
        assert not is_host(text)

    @pytest.mark.parametrize(
        ("text", "own"),
        [
            ("127.0.0.9", True),
            ("::1", True),
            ("LOCALHOST.", True),
            ("0.0.0.0", False),
            ("::", False),
            ("example.com", False),
        ],
    )
    def test_who_reaches_it(self, text: str, own: bool) -> None:
        assert is_loopback(text) is own


class TestEditors:
    @pytest.mark.parametrize("name", EDITOR_NAMES)
    def test_every_known_one_is_given_the_tree_as_its_last_word(self, name: str) -> None:
        tree = Path("/home/me/a b;$(x)/.nexus/worktrees/--help")
        command = editor_command(name, tree)
        assert command.argv[-1] == str(tree)
        assert command.cwd == tree
        assert all(word.startswith("--") for word in command.argv[1:-1])

    def test_terminals_and_windows(self) -> None:
        assert editor_command("vim", Path("/t")).terminal
        assert not editor_command("vscode", Path("/t")).terminal
        assert editor_command("code", Path("/t")) == editor_command("vscode", Path("/t"))
        assert editor_command("/opt/my editor", Path("/t")).argv == ("/opt/my editor", "/t")

    @pytest.mark.parametrize("name", ["", "./evil", "evil", "vim -c :!sh", "../x", "cursor;sh", "/a\0b"])
    def test_anything_else_is_refused(self, name: str) -> None:
        with pytest.raises(InvalidArgument, match="is no editor that is known") as caught:
            check_editor(name)
        assert "cursor" in str(caught.value.hint)

    def test_a_tree_has_an_absolute_path(self) -> None:
        with pytest.raises(InvalidArgument, match="must be absolute"):
            editor_command("vim", Path("-c:!sh"))
