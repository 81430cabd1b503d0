"""``backend.docker.build``: what is built for a project, and whose word counts when layers disagree."""

from __future__ import annotations

import pytest

from tests.config.conftest import Site

PROJECT = """\
backend:
  docker:
    dockerfile: ./docker/Dockerfile
    build: {context: docker, args: {VERSION: 1.20, DEBUG: yes}, target: dev}
"""


def test_folder_arguments_and_stage(site: Site) -> None:
    site.project(PROJECT)
    stack = site.load()
    build = stack.settings.build
    assert build is not None
    assert (build.context, build.target) == (site.root / "docker", "dev")
    assert build.args == {"VERSION": "1.20", "DEBUG": "yes"}  # as typed, not as numbers
    place = stack.explain("defaults.build.target").layers[-1].place
    assert place == f"{site.project_path}:4:{PROJECT.splitlines()[3].index('dev}') + 1}"


def test_another_image_or_file_is_not_built_that_way(site: Site) -> None:
    site.project(PROJECT)
    site.user("workspaces: {app: {path: ~/code/app}}\nproject_overrides: {app: {backend: {docker: {image: mine}}}}\n")
    stack = site.load()
    assert (stack.settings.image, stack.settings.dockerfile, stack.settings.build) == ("mine", None, None)
    site.user("project_overrides: {app: {backend: {docker: {dockerfile: Other}}}}\n")
    stack = site.load()
    assert (stack.settings.dockerfile, stack.settings.build) == (site.root / "Other", None)


def test_a_clone_has_nothing_built_from_outside(site: Site) -> None:
    site.project("backend: {docker: {dockerfile: D, build: {context: ../other}}}")
    assert site.problems() == (
        "project:1:52: 'backend.docker.build.context' must stay inside the project: no '..', no absolute path, no '~'",
    )
    (site.root / "link").symlink_to(site.home)
    site.project("backend: {docker: {dockerfile: D, build: {context: link}}}")
    (problem,) = site.problems()
    assert problem.startswith(
        "project:1:52: 'backend.docker.build.context' must stay inside the project; a symbolic link"
    )


def test_the_user_inside_goes_with_its_image(site: Site) -> None:
    site.project("backend: {docker: {image: dev, remote_user: vscode}}\n")
    stack = site.load()
    assert (stack.settings.image, stack.settings.remote_user) == ("dev", "vscode")
    site.user("workspaces: {app: {path: ~/code/app}}\nproject_overrides: {app: {backend: {docker: {image: mine}}}}\n")
    assert site.load().settings.remote_user is None, "another image has other users"
    site.user(
        "workspaces: {app: {path: ~/code/app}}\nproject_overrides: {app: {backend: {docker: {remote_user: node}}}}\n"
    )
    stack = site.load()
    assert (stack.settings.image, stack.settings.remote_user) == ("dev", "node")


def test_ids_are_not_the_projects_and_the_key_that_is_meant_is_named(site: Site) -> None:
    site.project("backend:\n  docker:\n    user: 1000:1000\n")
    (problem,) = site.problems()
    assert problem.startswith(
        "project:3:5: a project's file cannot set 'backend.docker.user': which ids programs run with"
    )
    assert problem.endswith("a project names a user of its image with 'remote_user'")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("root", "cannot be root: a clone would write into your tree as root"),
        ("1000", "must be text, not 1000"),
        ("'1000:1000'", "must be the name of a user of the image, such as vscode, and no number"),
        ("'a b'", "must be the name of a user of the image, such as vscode, and no number"),
    ],
)
def test_a_clone_names_a_user_and_no_ids(site: Site, value: str, words: str) -> None:
    site.project(f"backend:\n  docker:\n    remote_user: {value}\n")
    (problem,) = site.problems()
    assert problem.startswith("project:3:18: 'backend.docker.remote_user'")
    assert words in problem
