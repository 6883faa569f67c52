"""Attempts on the network: its settings, frames of one's own making, and whoever might be reached."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

from testbed.model import addressing
from testbed.model.segments import syn_frame
from tests.lab.calls import sniffed
from tests.lab.isolation.attempt import Answer, Attempt, Order, hidden, permitted, simple
from tests.lab.isolation.processes import call
from tests.lab.isolation.scene import BYSTANDER, Scene
from tests.waiting import eventually

ROUTE, NETFILTER = 0, 12
CHANGES = {"link": 16, "address": 20, "route": 24, "neighbour": 28, "queue (tc)": 36}
NEW_NFTABLE, DEL_CONNTRACK = 10 << 8, 1 << 8 | 2
SETTINGS = {"MAC": ("0x8927", "0x8924"), "address": ("0x8915", "0x8916"), "flags": ("0x8913", "0x8914"),
            "MTU": ("0x8921", "0x8922"), "queue length": ("0x8942", "0x8943")}  # fmt: skip
VSOCK, PACKET, RAW, ICMP, UDP, STREAM = 40, 17, 3, 1, 17, 1
PORTS = ("1-1024", "3306-3306", "5000-5010", "6600-6700", "8000-8079", "8081-8100", "9000-9100")
ALL_PORTS = (*PORTS, "8080-8080")
METADATA = "169.254.169.254"
CONTROL = {"apiserver": addressing.APISERVER_PORT, "controller": addressing.CONTROLLER_REST_PORT,
           "OpenFlow": addressing.OPENFLOW_PORT, "scaler": addressing.SCALER_PORT}  # fmt: skip
SPOOFED_PORT = 45_678
PING = "0800000000010001"
"""The beginning of an echo request; as a datagram it is as good as any."""


def request(method: str, path: str, body: str = "") -> str:
    """An HTTP request, as an attacker's argument."""
    head = f"{method} {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return hidden(f"{head}Content-Length: {len(body)}\r\n\r\n{body}")


def reaches(title: str, address: str, *ports: str) -> Attempt:
    """A connection to one of the ports, given as ranges."""
    return simple(f"reaches {title}", "scan", address, *ports)


def bystanders_at(title: str, which: str, where: str) -> Attempt:
    """A workload of another tenant's at its virtual or own address, at all ports."""

    def orders(scene: Scene) -> Iterable[Order]:
        function, instance = scene.bystanders[which]
        address = function.vip if where == "vIP" else instance.eip
        return [("scan", address, *ALL_PORTS)]

    return Attempt(title, orders)


def own_neighbour(scene: Scene) -> Iterable[Order]:
    """The other function of its own namespace, at both addresses: no call of theirs is in the call graph."""
    name = "script" if scene.attacker.function != "script" else "program"
    namespace = scene.attacker.namespace
    for address in (scene.function(name, namespace).vip, scene.instance(name, namespace).eip):
        yield "scan", address, *ALL_PORTS


def others_address(scene: Scene) -> Iterable[Order]:
    """A connection that says it comes from somebody who may make it."""
    store, _ = scene.bystanders["mariadb"]
    _, owner = scene.bystanders["owner"]
    yield "tcp", store.vip, str(store.port), "", owner.eip


def machine(scene: Scene) -> Iterable[Order]:
    """This machine at its own addresses, as the kernel lists them in its main network."""
    text = Path("/proc/1/net/fib_trie").read_text()
    found = {
        address for address in re.findall(r"-- ([\d.]+)\n +/32 host LOCAL", text) if not address.startswith("127.")
    }
    return [("scan", address, *ALL_PORTS) for address in sorted(found)[:2]]


POLICY = "isolation-attack"


def orders_policy(*before: str) -> Callable[[Scene], Iterable[Order]]:
    """An operator's policy, asked for from where the attacker is or from where `before` leads."""
    ends = {"namespace": "attack-direct", "from": "script.attack-direct", "to": f"owner.{BYSTANDER}"}
    body = json.dumps({"name": POLICY, "kind": "allow", **ends, "operator": True})
    tcp = ("tcp", addressing.CONTROL_PLANE_IP, str(addressing.CONTROLLER_REST_PORT), request("POST", "/policies", body))
    return lambda scene: [(*before, *tcp)]


def reads_state(*before: str) -> Callable[[Scene], Iterable[Order]]:
    """What the apiserver knows, all namespaces' secrets' names with it."""
    tcp = ("tcp", addressing.CONTROL_PLANE_IP, str(addressing.APISERVER_PORT), request("GET", "/state"))
    return lambda scene: [(*before, *tcp)]


def was_answered(scene: Scene, answer: Answer) -> bool:
    return answer.ok is True and "200 OK" in answer.said


def policy_was_made(scene: Scene, answer: Answer) -> bool:
    return POLICY in {one["name"] for one in scene.platform.policies()}


def remove_policy(scene: Scene) -> None:
    scene.platform.remove_policy(POLICY)


def watch(scene: Scene, workload: str, address: str) -> None:
    """From now on remember what comes to a workload of the other tenant's from an address."""
    stack = ExitStack()
    scene.remembered = stack, stack.enter_context(sniffed(scene.lab, scene.bystanders[workload][1].id, address))


def something_arrived(scene: Scene, answer: Answer) -> bool:
    stack, frames = scene.remembered
    with stack:
        return bool(eventually(lambda: frames, within_s=0.5))


def sends_frame(scene: Scene) -> Iterable[Order]:
    """A SYN from the owner of the store to the store, by somebody else."""
    store, _ = scene.bystanders["mariadb"]
    _, owner = scene.bystanders["owner"]
    frame = syn_frame(addressing.mac(owner.eip), owner.eip, store.vip, SPOOFED_PORT, store.port)
    watch(scene, "mariadb", owner.eip)
    yield "frame", frame.hex()


def sends(what: str, protocol: int, to: Callable[[Scene], str]) -> Attempt:
    """A datagram, looked out for where the other tenant's function is."""

    def orders(scene: Scene) -> Iterable[Order]:
        watch(scene, "owner", scene.instance(scene.attacker.function, scene.attacker.namespace).eip)
        yield "datagram", str(protocol), to(scene), "8080", PING

    return Attempt(what, orders, something_arrived, alone=True)


def owners_vip(scene: Scene) -> str:
    return scene.bystanders["owner"][0].vip


def owners_eip(scene: Scene) -> str:
    return scene.bystanders["owner"][1].eip


ATTEMPTS = (
    call("socket", 2, RAW, ICMP, title="raw socket"),
    call("socket", PACKET, RAW, 0, title="packet socket"),
    call("socket", VSOCK, STREAM, 0, title="socket to the machine's hypervisor (vsock)"),
    *(simple(f"changes its interface: {name}", "interface", *numbers) for name, numbers in SETTINGS.items()),
    *(simple(f"netlink: {name}", "netlink", ROUTE, kind, succeeded=permitted) for name, kind in CHANGES.items()),
    simple("netlink: nftables", "netlink", NETFILTER, NEW_NFTABLE, succeeded=permitted),
    simple("netlink: tracked connections", "netlink", NETFILTER, DEL_CONNTRACK, succeeded=permitted),
    *(reaches(f"the {name} on the management network", addressing.CONTROL_PLANE_IP, f"{port}-{port}")
      for name, port in CONTROL.items()),
    reaches("the gateway on the management network", addressing.GATEWAY_MANAGEMENT_IP, *ALL_PORTS),
    reaches("its node on the management network", addressing.management_ip(2), *ALL_PORTS),
    reaches("the gateway's other ports", addressing.vip(addressing.GATEWAY_ID), *PORTS),
    reaches("the gateway at its own address", addressing.eip(1, 1), *ALL_PORTS),
    reaches("the client", addressing.eip(1, 2), *ALL_PORTS),
    reaches("a probe of its node", addressing.eip(2, 1), *ALL_PORTS),
    reaches("others' loopback", "127.0.0.1", *PORTS),
    Attempt("reaches this machine", machine),
    reaches("a cloud's metadata", METADATA, "80-80"),
    bystanders_at("another tenant's function at its vIP", "owner", "vIP"),
    bystanders_at("another tenant's function at its own address", "owner", "eIP"),
    bystanders_at("another tenant's store at its vIP", "mariadb", "vIP"),
    bystanders_at("another tenant's store at its own address", "mariadb", "eIP"),
    Attempt("a function of its own tenant that it does not call", own_neighbour),
    Attempt("a store, with its owner's address as source", others_address),
    Attempt("a frame with another's addresses", sends_frame, something_arrived, alone=True),
    sends("a datagram to another tenant's vIP", UDP, owners_vip),
    sends("a datagram to another tenant's own address", UDP, owners_eip),
    sends("a datagram to everybody", UDP, lambda scene: "10.255.255.255"),
    sends("a datagram to a multicast group", UDP, lambda scene: "224.0.0.251"),
    sends("an echo request to another tenant's own address", ICMP, owners_eip),
    Attempt("orders a policy", orders_policy(), policy_was_made, remove_policy, alone=True),
    Attempt("orders a policy from the lab's network", orders_policy("enter", "/proc/1/ns/net"), policy_was_made,
            remove_policy, alone=True),
    Attempt("reads the cluster's state", reads_state(), was_answered),
    Attempt("reads the cluster's state from the lab's network", reads_state("enter", "/proc/1/ns/net"), was_answered),
)  # fmt: skip
