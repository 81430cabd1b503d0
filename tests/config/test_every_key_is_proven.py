"""Which test proves that a key of the architecture's files acts, or says why it does not. A key without one fails here.

That a key changes the settings is tested beside this (``test_every_key_counts.py``); this is about what happens then.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.config.test_every_key_counts import FILE_LEVELS, FOLDER, branches

TESTS = Path(__file__).parents[1]
SEED = "integration/test_seed_project.py::test_the_project_runs_as_its_file_says"
BOTH = "integration/test_seed_node_and_user.py::test_both_files_decide_about_a_workspace"
NODE = "config/test_config_node_rules.py::"
SPRITE = "integration/test_seed_node_and_user.py::test_the_backend_without_a_driver_is_refused_and_says_why"
TOLD = "config/test_every_key_counts.py::test_no_warning_that_is_not_deserved"

PROOFS: dict[str, dict[str, str]] = {
    "node": {
        "daemon.port": "serving/test_serving.py::test_it_listens_on_a_port_as_well",
        "daemon.host": "serving/test_serving.py::test_with_a_word_of_the_user_it_listens_for_others_unencrypted",
        "daemon.tls.cert": "serving/test_serving.py::test_a_new_certificate_holds_from_the_next_connection_on",
        "daemon.tls.key": "serving/test_serving.py::test_a_new_certificate_holds_from_the_next_connection_on",
        "limits.max_workspaces_per_user": (
            "integration/test_limits_of_the_node.py::test_processes_that_create_at_once_stop_exactly_at_the_limit"
        ),
        "limits.max_workspaces_total": (
            "integration/test_limits_of_the_node.py::test_processes_that_create_at_once_stop_exactly_at_the_limit"
        ),
        "limits.default_resources.cpu": "config/test_config_stack.py::test_the_nodes_default_resources_are_its_default",
        "limits.default_resources.memory": "providers/docker/test_docker_life.py::test_limits_hold_inside",
        "limits.default_resources.storage": "config/test_config_stack.py::test_the_nodes_default_resources_are_its_default",
        "backends.docker.socket": "providers/docker/test_docker_decisions.py::test_where_the_engine_is",
        "backends.docker.network": BOTH,
        "backends.docker.storage_driver": (
            "providers/docker/test_docker_trouble.py::test_another_storage_driver_than_the_one_set"
        ),
        "backends.sprite.api_endpoint": TOLD,
        "multi_user.enabled": BOTH,
        "multi_user.workspace_root": BOTH,
        "defaults.backend": BOTH,
        "defaults.idle_timeout": "workspace/test_idle_watch.py::test_a_workspace_sleeps_when_nothing_happens_and_the_next_command_wakes_it",
        "defaults.image": BOTH,
    },
    "user": {
        "preferences.default_editor": "cli/test_boulder_config.py::test_open_runs_the_preferred_editor_on_the_tree",
        "preferences.theme": "cli/test_boulder_config.py::test_the_theme_decides_about_colours",
        "preferences.telemetry.enabled": NODE + "test_a_consent_is_remembered_and_a_refusal_needs_no_word",
        "preferences.telemetry.share_friction_data": NODE + "test_a_consent_is_remembered_and_a_refusal_needs_no_word",
        "defaults.backend": SPRITE,
        "defaults.idle_timeout": BOTH,
        "defaults.resources": BOTH,
        "defaults.port_range.start": BOTH,
        "defaults.port_range.end": BOTH,
        "backends.sprite.api_key": TOLD,
        "backends.sprite.org": TOLD,
        "backends.sprite.region": TOLD,
        "workspaces.hanlun.path": (
            "integration/test_discovery.py::test_every_repository_of_the_user_is_found_and_one_that_is_broken_hides_no_other"
        ),
        "workspaces.nexus.path": (
            "integration/test_discovery.py::test_every_repository_of_the_user_is_found_and_one_that_is_broken_hides_no_other"
        ),
        "secrets.ssh.mode": "integration/test_ssh_inside.py::test_git_pushes_by_the_users_agent_and_keys_until_they_are_taken_away",
        "secrets.ssh.keys": "integration/test_ssh_inside.py::test_git_pushes_by_the_users_agent_and_keys_until_they_are_taken_away",
        "secrets.env_files": BOTH,
        "secrets.named.NPM_TOKEN.source": BOTH,
        "secrets.named.NPM_TOKEN.service": BOTH,
        "secrets.named.GITHUB_TOKEN.source": BOTH,
        "secrets.named.GITHUB_TOKEN.var": BOTH,
        "project_overrides.hanlun.defaults.idle_timeout": (
            "config/test_config_stack.py::test_the_users_override_for_this_project_wins_over_the_users_default"
        ),
    },
    "project": {
        **dict.fromkeys(
            (
                *(f"workspace.{name}" for name in ("name", "display_name", "description")),
                *(f"backend.{name}" for name in ("type", "docker.image", "docker.dockerfile")),
                *(f"ports.web.{name}" for name in ("container", "host", "visibility")),
                *(f"ports.api.{name}" for name in ("container", "visibility")),
                *(f"ports.database.{name}" for name in ("container", "host", "visibility")),
                *(f"services.postgres.{name}" for name in ("image", "ports", "env.POSTGRES_DB", "volumes")),
                *(f"services.redis.{name}" for name in ("image", "ports")),
                *(f"env.{name}" for name in ("NODE_ENV", "DATABASE_URL", "REDIS_URL")),
                *(f"scripts.{name}" for name in ("pre-start", "post-start")),
                *(f"hooks.{name}" for name in ("on_wake", "on_sleep")),
                *(f"resources.{name}" for name in ("cpu", "memory")),
                *(f"secrets.DATABASE_PASSWORD.{name}" for name in ("source", "path")),
                *(f"secrets.STRIPE_SECRET_KEY.{name}" for name in ("source", "var")),
            ),
            SEED,
        ),
        "resources.storage": (
            "providers/docker/test_docker_limits.py::test_a_file_system_without_quotas_does_not_keep_a_workspace_from_being_made"
        ),
    },
    "multi-user": {
        "multi_user.enabled": "workspace/test_privacy.py::test_folders_are_closed_from_the_first_moment",
        "multi_user.auth.method": "workspace/test_privacy.py::test_a_name_in_the_environment_is_not_believed",
        "multi_user.auth.sudo_access": NODE + "test_asking_for_sudo_is_answered_truthfully",
        "multi_user.isolation.workspaces": (
            "workspace/test_privacy.py::test_folders_that_were_open_are_closed_when_the_repository_is_opened"
        ),
        "multi_user.isolation.networks": "providers/docker/test_docker_life.py::test_each_workspace_has_a_network_of_its_own_from_the_pool",
        "multi_user.isolation.volumes": SEED,
    },
}


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds) and node.name.startswith("test_"))


@pytest.mark.parametrize("name", FILE_LEVELS)
def test_every_key_has_its_proof_and_no_other_does(name: str) -> None:
    keys = {".".join(path) for path, _ in branches(yaml.safe_load((FOLDER / f"{name}.yaml").read_text()))}
    assert set(PROOFS[name]) == keys
    for key, proof in PROOFS[name].items():
        file, _, test = proof.partition("::")
        assert test in names_in(file), f"{key}: there is no test {proof}"
