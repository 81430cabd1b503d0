from __future__ import annotations

import pytest

from nexus.errors import ConfigError
from tests.config.conftest import Site

ORG_PORT = "ports:\n  web:\n    container: 3000\n    visibility: org\n"


def test_a_port_for_the_organisation_needs_a_node_that_knows_it(site: Site) -> None:
    site.project(ORG_PORT)
    (problem,) = site.problems()
    assert "4:17: 'ports.web.visibility' is org, but this node does not say by which address" in problem
    with pytest.raises(ConfigError) as caught:
        site.load()
    assert "set network.org_address in the node's file" in str(caught.value.hint)
    site.node("network: {org_address: wg0}\n")
    assert site.load().settings.org_address == "wg0"


@pytest.mark.parametrize("value", ["10.0.0.5", "fd00::5", "eth1", "br-lan.4"])
def test_addresses_and_interfaces_are_taken(site: Site, value: str) -> None:
    site.node(f"network: {{org_address: '{value}'}}\n")
    assert site.load().settings.org_address == value


@pytest.mark.parametrize("value", ["0.0.0.0", "::", "10.0.0", "eth1; reboot", "../x", "224.0.0.1", "a" * 16])
def test_what_is_not_one_address_is_refused_with_its_place(site: Site, value: str) -> None:
    site.node(f"network: {{org_address: '{value}'}}\n")
    (problem,) = site.problems()
    assert "1:24: 'network.org_address' must be" in problem


def test_only_the_node_says_it(site: Site) -> None:
    site.project("network: {org_address: 10.0.0.5}\n")
    assert "a project's file cannot set 'network'" in site.problems()[0]
    site.project("")
    site.user("network: {org_address: 10.0.0.5}\n")
    assert "it belongs in the node file" in site.problems()[0]
    site.user("")
    assert "only the node's own file sets it" in site.problems(flags={"network.org_address": "10.0.0.5"})[0]
