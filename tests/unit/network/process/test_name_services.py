"""The files by which a lab resolves names, made from the machine's."""

from __future__ import annotations

import pytest

from testbed.network.process import names

LINE = "hosts: files dns"


@pytest.mark.parametrize(
    "line",
    [
        "hosts:          files mdns4_minimal [NOTFOUND=return] dns",
        "hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns",
        "\thosts: dns",
    ],
)
def test_only_how_host_names_are_found_is_changed(line: str) -> None:
    around = ("passwd: files systemd\n# hosts: a comment\n", "\nnetworks: files\n")
    assert names.name_services(line.join(around)) == LINE.join(around)


def test_where_nothing_is_said_of_host_names_it_is_added() -> None:
    assert names.name_services("passwd: files\n").splitlines()[-1] == LINE


def test_the_resolver_asks_the_host_itself_once() -> None:
    assert "nameserver 127.0.0.1\n" in names.RESOLVER
    assert "attempts:1" in names.RESOLVER
