"""Which secrets a configuration names, what a clone may name, and what is said before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus.config import ConfigStack, may_read_host
from nexus.models.secrets import SecretReference
from tests.config.conftest import Site

STRIPE = "secrets:\n  STRIPE: {source: env, var: HANLUN_STRIPE_KEY}\n"


def named(site: Site, **env: str) -> dict[str, SecretReference]:
    return {reference.name: reference for reference in site.load(env=env).settings.secrets}


def allowed(site: Site, name: str, **env: str) -> bool:
    settings = site.load(env=env).settings
    return may_read_host(named(site, **env)[name], settings.secrets_allowed)


def test_where_each_secret_comes_from(site: Site) -> None:
    user = site.user(
        "secrets:\n  named:\n"
        "    A: {source: keychain, service: npm, account: me}\n"
        "    B: {source: file, path: token.txt, as: file}\n"
        "    C: {source: command, command: [pass, show, x]}\n"
        "    D: {source: command, command: 'pass show x | head -1', required: false}\n"
        "    E: {source: store, entry: other}\n"
        "    F: {source: store}\n"
        "    G: {source: file, path: ~/g}\n"
    )
    site.project("secrets: {P: {source: file, path: ./.nexus/p.txt}}")
    found = named(site)
    assert (found["A"].key, found["A"].account, found["A"].trusted) == ("npm", "me", True)
    assert (found["B"].path, found["B"].inside, found["B"].delivery) == (user.parent / "token.txt", None, "file")
    assert found["C"].command == ("pass", "show", "x")
    assert (found["D"].command, found["D"].required) == (("/bin/sh", "-c", "pass show x | head -1"), False)
    assert (found["E"].key, found["F"].key) == ("other", "F")
    assert found["G"].path == site.home / "g"
    assert (found["P"].path, found["P"].inside) == (site.root / ".nexus" / "p.txt", site.root)
    assert found["P"].trusted is False
    assert found["A"].place == f"{user}:3:8"


def test_a_layer_replaces_a_secret_whole_and_null_removes_it(site: Site) -> None:
    site.user(
        "workspaces: {app: {path: ~/code/app}}\n"
        "secrets:\n  named:\n    A: {source: keychain, service: npm, account: me}\n    B: {source: store}\n    C: {source: store}\n"
        "project_overrides: {app: {secrets: {named: {D: {source: store}}}}}\n"
    )
    site.project("secrets:\n  A: {source: env, var: X}\n  B: null\n  D: {source: env, var: X}\n")
    found = named(site)
    assert set(found) == {"A", "C", "D"}
    assert (found["A"].source, found["A"].account, found["A"].trusted) == ("env", None, False)
    assert (found["D"].source, found["D"].trusted) == ("store", True)
    stack = site.load()
    assert stack.get("secrets.named.A") == {"source": "env", "var": "X"}
    flags = site.load(flags={"secrets.named.A": {"source": "store"}}).settings.secrets
    assert {one.name: one.trusted for one in flags}["A"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{source: keychain}", "needs 'service'"),
        ("{source: file, var: X}", "needs 'path'"),
        ("{source: env, var: X, service: npm}", "'service' says nothing to a secret with 'source: env'"),
        ("{source: vault, path: x}", "must be"),
        ("{source: env, var: 9X}", "must be a variable's name"),
        ("{source: store, as: disk}", "must be 'env' or 'file'"),
        ("{source: file, path: ~other/x}", "must be a path"),
        ("{source: command, command: []}", "cannot be used"),
    ],
)
def test_mistakes_have_a_place(site: Site, text: str, words: str) -> None:
    site.user(f"secrets:\n  named:\n    A: {text}\n")
    problems = site.problems()
    assert any(words in line for line in problems), problems
    assert all(line.startswith("user:3:") for line in problems)


@pytest.mark.parametrize(
    ("source", "permission"),
    [
        ("{source: env, var: HANLUN_STRIPE_KEY}", "HANLUN_STRIPE_KEY"),
        ("{source: keychain, service: npm}", "keychain:npm"),
        ("{source: store, entry: MINE}", "store:MINE"),
    ],
)
def test_a_clone_reads_of_its_user_what_the_user_allows(site: Site, source: str, permission: str) -> None:
    project = site.project(f"secrets:\n  A: {source}\n")
    env = {"HANLUN_STRIPE_KEY": "x"}
    assert not allowed(site, "A", **env)
    (warning,) = site.load(env=env).warnings
    assert (
        warning
        == f"{project}:2:6: secret 'A' comes from '{permission}', which you have not allowed this project to read"
    )
    site.user(
        f"workspaces: {{app: {{path: ~/code/app}}}}\nproject_overrides: {{app: {{secrets: {{allow: ['{permission}']}}}}}}\n"
    )
    assert allowed(site, "A", **env)
    assert site.load(env=env).warnings == ()
    site.user(
        f"workspaces: {{app: {{path: ~/elsewhere}}}}\nproject_overrides: {{app: {{secrets: {{allow: ['{permission}']}}}}}}\n"
    )
    assert not allowed(site, "A", **env)
    site.user(f"secrets: {{allow: [OTHER, '{permission}']}}\n")
    assert allowed(site, "A", **env)


def test_a_clone_cannot_allow_itself_anything(site: Site) -> None:
    site.project("secrets:\n  A: {source: env, var: X}\n  allow: {source: env, var: X}\n")
    assert site.load().settings.secrets_allowed == ()
    site.project("project_overrides: {app: {secrets: {allow: [X]}}}\n")
    assert "a project's file cannot set 'project_overrides'" in site.problems()[0]
    site.project("secrets:\n  A: {source: command, command: [id]}\n")
    assert "from a command: it would run on this host" in site.problems()[0]
    command = SecretReference(name="A", source="command", command=("id",), trusted=False)
    assert not may_read_host(command, ["command:", "command", ""])


def test_an_override_for_another_project_is_checked_too(site: Site) -> None:
    site.user(
        "workspaces: {other: {path: ~/other}}\nproject_overrides: {other: {secrets: {allow: [X], env_files: ['~you/x'], "
        "named: {A: {source: store}}}}}\n"
    )
    found = ConfigStack.validate(site.root, env={"HOME": str(site.home)}, node_file=site.node_path)
    assert [str(problem).split(": ", 1)[1] for problem in found] == [
        "'~you/x' must be a path; only '~/' stands for a folder"
    ]


def test_an_override_with_secrets_needs_a_folder(site: Site) -> None:
    site.user("project_overrides: {app: {secrets: {allow: [X]}}}\n")
    (line,) = site.problems()
    assert "'project_overrides.app.secrets' needs 'workspaces.app.path'" in line


def test_a_clone_cannot_hook_every_command_of_the_host_by_a_secret(site: Site) -> None:
    (site.root / "evil.so").write_text("")
    site.project("secrets: {LD_PRELOAD: {source: file, path: evil.so}}\n")
    assert named(site)
    (line,) = site.problems(flags={"backend": "local"})
    assert "cannot give a secret the name 'LD_PRELOAD' while the backend is 'local'" in line
    site.project("secrets: {NEXUS_WORKSPACE: {source: file, path: x}}\n")
    assert "names that begin with NEXUS_ are taken" in site.problems()[0]


def test_what_has_no_value_is_a_warning_or_when_required_an_error(site: Site) -> None:
    (site.root / "there").write_text("x")
    project = site.project(
        "secrets:\n  A: {source: file, path: none}\n  B: {source: file, path: there}\nenv_files: [.env]\n"
    )
    user = site.user("secrets:\n  named:\n    C: {source: env, var: UNSET}\n")
    assert site.load().warnings == (
        f"{user}:3:8: secret 'C' refers to the variable UNSET, which is not set",
        f"{project}:2:6: secret 'A' refers to the file '{site.root}/none', which does not exist",
        f"{project}:4:12: the file of variables '{site.root}/.env' does not exist",
    )
    site.user("secrets:\n  named:\n    C: {source: env, var: UNSET, required: true}\n")
    (line,) = site.problems()
    assert line == "user:3:8: secret 'C' is required and refers to the variable UNSET, which is not set"
    assert site.load(env={"UNSET": "x"}).warnings[0].endswith("does not exist")


def test_files_of_variables_in_order(site: Site, tmp_path: Path) -> None:
    user = site.user(
        "workspaces: {app: {path: ~/code/app}}\nsecrets: {env_files: [~/.env, mine.env]}\n"
        "project_overrides: {app: {secrets: {env_files: [/abs.env]}}}\n"
    )
    site.project("env_files: [.env, config/dev.env]\n")
    files = site.load().settings.env_files
    assert [file.path for file in files] == [
        site.home / ".env",
        user.parent / "mine.env",
        Path("/abs.env"),
        site.root / ".env",
        site.root / "config" / "dev.env",
    ]
    assert [file.trusted for file in files] == [True, True, True, False, False]
    assert {file.inside for file in files if not file.trusted} == {site.root}
    replaced = site.load(flags={"secrets.env_files": ["only.env"]}).settings.env_files
    assert [file.path.name for file in replaced if file.trusted] == ["only.env"]


@pytest.mark.parametrize("path", ["../.env", "/etc/passwd", "~/.env"])
def test_a_projects_file_of_variables_stays_inside(site: Site, path: str) -> None:
    site.project(f"env_files: ['{path}']\n")
    assert "a file of variables of a project must stay inside the project" in site.problems()[0]


def test_the_passphrase_is_no_setting(site: Site) -> None:
    stack = site.load(env={"NEXUS_SECRETS_PASSPHRASE": "canary-pass"})
    assert "canary-pass" not in f"{stack!r} {stack.to_json()} {stack.settings!r}"
