"""The address plan of a lab: node, eIP, vIP and MAC, each a pure function of small numbers.

Every lab owns its network namespaces, so the plan is the same in all of them.

    10.96.0.0/16        vIPs: 10.96.<id / 256>.<id % 256>, one a workload, fixed for its life
    10.<200+n>.0.0/16   eIPs of node n, one an instance or other host
    172.31.0.0/24       management network: control plane .1, gateway .2, node n .(10 + n)
"""

from __future__ import annotations

import zlib
from ipaddress import IPv4Address, IPv4Network

from testbed.model.errors import UsageError

VIP_NETWORK = IPv4Network("10.96.0.0/16")
EIP_NETWORK = IPv4Network("10.192.0.0/10")
"""Holds the eIP subnets of all nodes, so that one ARP row answers for them."""
DATA_NETWORKS = (VIP_NETWORK, EIP_NETWORK)
"""What a host can send to. Every other address is unreachable, which its own kernel says at once."""
NEXT_HOP = str(EIP_NETWORK[1])
"""Hosts send everything through this address, which is no host's: the switch is behind it."""

VIRTUAL_MAC = "aa:bb:cc:dd:ee:ff"
"""The next hop's, and the source of everything that a switch hands to a host (after Antrea's virtual MAC)."""

FUNCTION_PORT = 8080
GATEWAY_METRICS_PORT = 8082
OPENFLOW_PORT = 6653
CONTROLLER_REST_PORT = 6680
APISERVER_PORT = 8081
SCALER_PORT = 6690
PROVIDER_PROXY_PORT = 8081
"""In the gateway's host, on its loopback: the provider for a gateway program that is not ours."""

CONTROL_PLANE_IP = "172.31.0.1"
GATEWAY_MANAGEMENT_IP = "172.31.0.2"
MANAGEMENT_PREFIX_LENGTH = 24

APISERVER_URL = f"http://{CONTROL_PLANE_IP}:{APISERVER_PORT}"
CONTROLLER_URL = f"http://{CONTROL_PLANE_IP}:{CONTROLLER_REST_PORT}"
SCALER_URL = f"http://{CONTROL_PLANE_IP}:{SCALER_PORT}"

GATEWAY_ID = 1
CLIENT_ID = 2
FIRST_PROBE_ID = 10
"""Probe of node n has the id FIRST_PROBE_ID + n."""
FIRST_FUNCTION_ID = 256
FIRST_NAMESPACE_ID = 32_768
"""No function and namespace have the same id; each kind is given out from where it hardly meets the other."""
LAST_ID = 65_533

MAX_NODE = 15


def management_ip(node: int) -> str:
    """The address of node `node` (1..15) on the management network."""
    _check_node(node)
    return f"172.31.0.{10 + node}"


def vip(workload_id: int) -> str:
    """The virtual IP of the workload with this id (1..65533)."""
    if not 1 <= workload_id <= LAST_ID:
        raise UsageError(f"workload id {workload_id} is outside 1..{LAST_ID}; remove functions that are not in use")
    return str(VIP_NETWORK[workload_id])


def eip_network(node: int) -> IPv4Network:
    """The subnet of node `node`'s hosts."""
    _check_node(node)
    return IPv4Network(f"10.{200 + node}.0.0/16")


def eip(node: int, index: int) -> str:
    """The endpoint IP of host number `index` (1..65533) on node `node`."""
    if not 1 <= index <= LAST_ID:
        raise UsageError(f"host number {index} on node{node} is outside 1..{LAST_ID}")
    return str(eip_network(node)[index])


def node_of(address: str) -> int:
    """The node that an eIP belongs to."""
    node = IPv4Address(address).packed[1] - 200
    _check_node(node)
    return node


def mac(address: str) -> str:
    """The MAC address of the host with this eIP: locally administered, the IP in its last four bytes."""
    return ":".join(["02", "00", *(f"{byte:02x}" for byte in IPv4Address(address).packed)])


def user_id(lab: str, address: str) -> int:
    """The user of the machine as whom the program of the host with this eIP runs: one for each, in labs of other names
    with hardly any in common. From 2²⁸ on, where no machine has users."""
    node, index = node_of(address), int.from_bytes(IPv4Address(address).packed[2:])
    return 1 << 28 | zlib.crc32(lab.encode()) % 1024 << 20 | node << 16 | index


def port_name(address: str) -> str:
    """The name of the switch port of the host with this eIP, e.g. "n2p5" (at most 15 characters)."""
    _, second, third, fourth = IPv4Address(address).packed
    _check_node(second - 200)
    return f"n{second - 200}p{third << 8 | fourth}"


def trunk_name(node: int, peer: int) -> str:
    """The name of node `node`'s port on its trunk to node `peer`."""
    return f"t{node}{peer}" if max(node, peer) < 10 else f"t{node}-{peer}"


def _check_node(node: int) -> None:
    if not 1 <= node <= MAX_NODE:
        raise UsageError(f"node number {node} is outside 1..{MAX_NODE}")
