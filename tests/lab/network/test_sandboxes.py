"""Sandboxes: prepared, taken, many at once; what a start's time is made of; and no request cut when one goes."""

from __future__ import annotations

import errno
import http.client
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from testbed.model import addressing
from testbed.model.errors import LabError
from testbed.network.attach import attached_network
from testbed.network.hosts.sandboxes import PREPARED_PER_NODE
from testbed.network.lab import Lab
from testbed.observe import coldstarts
from testbed.platform.client.platform import Platform
from tests import waiting
from tests.lab.custom import deploy
from tests.lab.traffic import in_host, reaches

FIRST_INDEX = 5000
MANY = 30
ELSEWHERE = ("172.31.0.1", "10.1.2.3", "192.0.2.1")
"""The management network, and addresses that a lab's data network does not hold."""
PERMANENT = "0x6"
SLOW = """
import time

def handle(event, context):
    time.sleep(float(event.query.get("seconds", "0")))
    return "ok"
"""
until = partial(waiting.until, within_s=30)


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        yield Platform(lab)


def ports(lab: Lab, node: int) -> set[str]:
    command = ["ovs-vsctl", f"--db=unix:{lab.state_folder}/ovs/s{node}/db.sock", "list-ports", f"s{node}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return set(output.split())


def prepared(lab: Lab) -> dict[str, int]:
    return dict(lab.client.status()["prepared"])


def test_a_sandbox_that_was_taken_is_replaced(lab: Lab) -> None:
    full = {"2": PREPARED_PER_NODE, "3": PREPARED_PER_NODE}
    until(lambda: prepared(lab) == full, "sandboxes are prepared")
    lab.client.allow_refill(False)
    eip = addressing.eip(3, FIRST_INDEX)
    lab.client.add_host("taken", 3, eip)
    assert prepared(lab) == {**full, "3": PREPARED_PER_NODE - 1}
    command = lab.command("taken", ["ip", "-br", "address", "show", "eth0"])
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{eip}/32" in shown.stdout
    assert addressing.port_name(eip) in ports(lab, 3)
    lab.client.allow_refill(True)
    until(lambda: prepared(lab) == full, "it is replaced")
    lab.client.delete_host("taken")
    assert addressing.port_name(eip) not in ports(lab, 3)


def test_many_at_once_are_each_whole_and_leave_nothing(lab: Lab) -> None:
    before = ports(lab, 2)
    eips = {f"many{number}": addressing.eip(2, FIRST_INDEX + number) for number in range(MANY)}
    with ThreadPoolExecutor(MANY) as pool:
        list(pool.map(lambda name: lab.client.add_host(name, 2, eips[name]), eips))
        assert ports(lab, 2) - before == {addressing.port_name(eip) for eip in eips.values()}
        hosts = lab.client.hosts()
        assert {name: hosts[name]["eip"] for name in eips} == eips
        list(pool.map(lab.client.delete_host, eips))
    assert ports(lab, 2) == before
    assert not eips.keys() & lab.client.hosts().keys()


def test_of_two_that_want_one_name_one_gets_it(lab: Lab) -> None:
    def attempt(number: int) -> bool:
        try:
            lab.client.add_host("wanted", 2, addressing.eip(2, FIRST_INDEX + number))
        except LabError as error:
            assert "the lab has a host 'wanted' already" in str(error)
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(attempt, range(4))) == [False, False, False, True]
    lab.client.delete_host("wanted")


def tried(addresses: list[str]) -> dict[str, int]:
    """What the kernel says at once of a connection from the calling thread to each address."""
    answers = {}
    for address in addresses:
        with socket.socket() as one:
            one.setblocking(False)
            answers[address] = one.connect_ex((address, addressing.FUNCTION_PORT))
    return answers


def neighbours(lab: Lab, host: str) -> list[list[str]]:
    """The host's neighbour entries: address, flags, MAC, interface."""
    table = in_host(lab, host, lambda: Path("/proc/thread-self/net/arp").read_text())
    return [[words[0], words[2], words[3], words[5]] for words in map(str.split, table.splitlines()[1:])]


def test_a_host_has_one_neighbour_and_it_is_permanent(lab: Lab) -> None:
    addresses = [addressing.vip(number) for number in range(256, 320)] + [addressing.eip(node, 9) for node in (1, 2, 3)]
    assert set(in_host(lab, "client", lambda: tried(addresses)).values()) == {errno.EINPROGRESS}
    assert neighbours(lab, "client") == [[addressing.NEXT_HOP, PERMANENT, addressing.VIRTUAL_MAC, "eth0"]]


@pytest.mark.parametrize("address", ELSEWHERE)
def test_an_address_outside_the_data_network_is_unreachable_at_once(lab: Lab, address: str) -> None:
    assert in_host(lab, "client", lambda: tried([address])) == {address: errno.ENETUNREACH}


def test_a_host_that_asks_for_its_next_hop_all_the_same_is_answered(lab: Lab) -> None:
    entry = (addressing.NEXT_HOP, "lladdr", addressing.VIRTUAL_MAC, "dev", "eth0", "nud", "permanent")
    gateway = addressing.vip(addressing.GATEWAY_ID)
    subprocess.run(lab.command("client", ["ip", "neigh", "del", addressing.NEXT_HOP, "dev", "eth0"]), check=True)
    try:
        assert reaches(lab, "client", gateway)
        assert [entry[2] for entry in neighbours(lab, "client")] == [addressing.VIRTUAL_MAC]
    finally:
        subprocess.run(lab.command("client", ["ip", "neigh", "replace", *entry]), check=True)


def test_mininet_finds_the_hosts_and_their_shells(lab: Lab) -> None:
    net = attached_network(lab)
    try:
        assert addressing.eip(1, 2) in net["client"].cmd("ip -br address show eth0")
        assert {"client", "gateway"} <= {host.name for host in net.hosts}
    finally:
        for node in [*net.hosts, *net.switches]:
            node.terminate()


def test_the_time_of_a_start_is_told_phase_by_phase(platform: Platform, tmp_path: Path) -> None:
    deploy(platform, tmp_path, "starts", SLOW)
    platform.scale("f", "starts", 3)
    platform.wait_ready()
    measured = coldstarts.cold_starts(platform.cold_starts(), platform.latencies())
    starts = [one for one in measured if one.function == "f.starts"]
    assert len(starts) == 3
    for one in starts:
        assert tuple(one.phases_ms) == coldstarts.PHASES
        assert all(value > 0 for value in one.phases_ms.values())
    platform.remove("starts")


def test_going_from_three_to_one_cuts_no_request(platform: Platform, tmp_path: Path) -> None:
    deploy(platform, tmp_path, "drained", SLOW)
    platform.scale("f", "drained", 3)
    platform.wait_ready()
    stop = threading.Event()
    answers: list[int] = []

    def keep_asking(seconds: float) -> None:
        """Requests on a connection that is kept while the gateway keeps it."""
        connection = http.client.HTTPConnection(addressing.GATEWAY_MANAGEMENT_IP, addressing.FUNCTION_PORT, timeout=30)
        while not stop.is_set():
            connection.request("GET", f"/function/f.drained?seconds={seconds}")
            answer = connection.getresponse()
            answer.read()
            answers.append(answer.status)
        connection.close()

    askers = [threading.Thread(target=keep_asking, args=(seconds,)) for seconds in (0.0, 0.01, 0.01, 1.5, 1.5, 1.5)]
    for asker in askers:
        asker.start()
    until(lambda: len(answers) > 50, "requests are answered")
    platform.scale("f", "drained", 1)
    until(lambda: sum(one.namespace == "drained" for one in platform.state().instances.values()) == 1, "two have gone")
    seen = len(answers)
    until(lambda: len(answers) > max(200, seen + 50), "the one that stays goes on answering")
    stop.set()
    for asker in askers:
        asker.join(30)
    assert set(answers) == {200}
    platform.remove("drained")
