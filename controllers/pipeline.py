"""The flow pipeline as named data: tables, registers, priorities, conntrack marks, cookies, drop reasons.

docs/pipeline.md explains each table and is compared with this module by a test. Nothing here
decides which rows a node gets (desired/ does) or knows OpenFlow's encoding (switch/translator.py does).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


@dataclass(frozen=True)
class Table:
    """One table: its OpenFlow number, its name, what it is for and what happens to a packet no row takes."""

    number: int
    name: str
    purpose: str
    miss: str


CLASSIFIER = Table(0, "Classifier", "separates ARP from TCP over IPv4", "dropped and counted: another protocol")
ARP_SPOOF_GUARD = Table(
    1, "ArpSpoofGuard", "lets a port speak ARP only in its own name", "dropped and counted: spoofed ARP"
)
ARP_RESPONDER = Table(
    2, "ArpResponder", "answers for every vIP and eIP with the virtual MAC", "dropped and counted: unanswered ARP"
)
SPOOF_GUARD = Table(
    3, "SpoofGuard", "turns the port into an identity that later tables trust", "dropped and counted: spoofed source"
)
CONNTRACK_ZONE = Table(
    4, "ConntrackZone", "sends every packet through the node's conntrack zone, marking calls to be held", "dropped"
)
CONNTRACK_STATE = Table(5, "ConntrackState", "parts new connections from known ones", "dropped and counted: untracked")
DAG_POLICY = Table(
    6, "DagPolicy", "admits the calls of the call graph, judged at the caller", "dropped and counted: no such service"
)
SERVICE_LB = Table(7, "ServiceLb", "chooses an instance for a vIP", "dropped and counted: no row for this vIP")
INGRESS_POLICY = Table(
    8, "IngressPolicy", "commits what another node admitted", "dropped and counted: not from a trunk"
)
L3_FORWARD = Table(9, "L3Forward", "finds the port of an eIP", "dropped and counted: unknown destination")
OUTPUT = Table(10, "Output", "sends the packet to the port found", "dropped")

TABLES = (
    CLASSIFIER,
    ARP_SPOOF_GUARD,
    ARP_RESPONDER,
    SPOOF_GUARD,
    CONNTRACK_ZONE,
    CONNTRACK_STATE,
    DAG_POLICY,
    SERVICE_LB,
    INGRESS_POLICY,
    L3_FORWARD,
    OUTPUT,
)
TABLE_NAMES = {table.number: table.name for table in TABLES}


@dataclass(frozen=True)
class Register:
    """A packet register: its OpenFlow field and what it holds between tables."""

    name: str
    holds: str


REG_SOURCE = Register("reg0", "source class: 1 a local host's port, 2 a trunk")
REG_WORKLOAD = Register("reg1", "id of the workload that sent the packet")
REG_PORT = Register("reg2", "OpenFlow number of the port to send to")
REG_SCRATCH = Register("reg3", "scratch space of ArpResponder")
REG_HOLD = Register("reg4", "1 where the vIP had no ready instance when the packet passed ConntrackZone")
REGISTERS = (REG_SOURCE, REG_WORKLOAD, REG_PORT, REG_SCRATCH, REG_HOLD)
HELD = 1
"""Value of REG_HOLD. It is set before conntrack, so it is part of what the datapath caches packets by: a cached
flow that punts can never become, by revalidation, one that is counted as a call."""


class Source(IntEnum):
    """Values of REG_SOURCE."""

    LOCAL = 1
    TRUNK = 2


class Priority(IntEnum):
    """Every priority in use. Inside one table a higher number is asked first."""

    POLICY_DENY = 240
    POLICY_PACKETS = 220
    INVALID = 210
    RETRANSMISSION = 205
    HOLD = 202
    POLICY = 201
    NORMAL = 200
    FALLBACK = 190
    DROP = 100
    MISS = 0


class CtState(IntEnum):
    """Bits of ct_state (ovs-fields(7))."""

    NEW = 0x01
    ESTABLISHED = 0x02
    RELATED = 0x04
    REPLY = 0x08
    INVALID = 0x10
    TRACKED = 0x20


CT_COMMITTED = 1 << 31
"""Bit of ct_mark: this connection was admitted. Bits 0..15 hold the callee's workload id, where it is known."""

ZONE_BASE = 100


def zone(node: int) -> int:
    """The conntrack zone of node `node`.

    Each node has its own: bridges that share a zone see each other's connections as established, skip
    their own policy and undo NAT on the wrong switch, silently.
    """
    return ZONE_BASE + node


class Category(IntEnum):
    """What a row is, as its cookie says; `object` in the cookie is then the thing named here."""

    BASE = 1  # 0
    PORT = 2  # the port's eIP, or the peer node of a trunk
    POLICY = 3  # caller id << 16 | callee id
    SERVICE = 4  # workload id
    FORWARDING = 5  # the eIP, or the peer node of a trunk
    NO_INSTANCE = 6  # workload id
    DROP = 7  # number of a DropReason
    HOLD = 8  # caller id << 16 | callee id
    # A provider's policies: what they say about a call.
    ALLOW = 16  # caller id << 16 | callee id, as for the next three
    DENY = 17
    LIMIT = 18
    PACKETS = 19


_CATEGORIES = {category.value: category for category in Category}

CALL_CATEGORIES = (Category.POLICY, Category.HOLD, Category.ALLOW, Category.DENY, Category.LIMIT, Category.PACKETS)
"""Those whose object is a call."""

CATEGORY_OBJECTS = {
    Category.BASE: "0",
    Category.PORT: "eIP of the port, or number of the peer node",
    Category.POLICY: "caller id << 16 | callee id",
    Category.SERVICE: "workload id",
    Category.FORWARDING: "eIP, or number of the peer node",
    Category.NO_INSTANCE: "workload id",
    Category.DROP: "number of the drop reason",
    Category.HOLD: "caller id << 16 | callee id",
    Category.ALLOW: "caller id << 16 | callee id",
    Category.DENY: "caller id << 16 | callee id",
    Category.LIMIT: "caller id << 16 | callee id",
    Category.PACKETS: "caller id << 16 | callee id",
}

ROUND_BITS, CATEGORY_BITS, RESERVED_BITS, OBJECT_BITS = 16, 8, 8, 32
ROUND_SHIFT, CATEGORY_SHIFT = 48, 40
LAST_ROUND = (1 << ROUND_BITS) - 1
COOKIE_WITHOUT_ROUND = (1 << ROUND_SHIFT) - 1
CATEGORY_MASK = 0xFF << CATEGORY_SHIFT


def cookie(category: Category, object_id: int) -> int:
    """round (16 bits) | category (8) | reserved (8) | object (32), with round 0."""
    return category << CATEGORY_SHIFT | object_id


def with_round(value: int, round_number: int) -> int:
    """The cookie as installed by the controller's `round_number`-th connection to a switch."""
    return round_number << ROUND_SHIFT | (value & COOKIE_WITHOUT_ROUND)


def round_of(value: int) -> int:
    return value >> ROUND_SHIFT


def category_of(value: int) -> Category | None:
    """The cookie's category, None when it is not one of ours."""
    return _CATEGORIES.get((value >> CATEGORY_SHIFT) & 0xFF)


def object_of(value: int) -> int:
    return value & 0xFFFF_FFFF


def call_object(caller: int, callee: int) -> int:
    return caller << 16 | callee


def call_of(object_id: int) -> tuple[int, int]:
    """(caller id, callee id) of a POLICY or HOLD cookie's object."""
    return object_id >> 16, object_id & 0xFFFF


class DropReason(Enum):
    """Why a packet is dropped: number (the cookie's object), table, name in counters, sentence."""

    IPV6 = (1, CLASSIFIER, "ipv6", "IPv6 is off in the cluster")
    NOT_TCP = (2, CLASSIFIER, "not-tcp", "IPv4, but not TCP")
    OTHER_PROTOCOL = (3, CLASSIFIER, "other-protocol", "neither ARP nor IP")
    SPOOFED_ARP = (4, ARP_SPOOF_GUARD, "spoofed-arp", "ARP whose sender IP or MAC is not the port's own")
    UNANSWERED_ARP = (5, ARP_RESPONDER, "unanswered-arp", "ARP that asks for no vIP or eIP")
    SPOOFED_SOURCE = (6, SPOOF_GUARD, "spoofed-source", "source IP or MAC is not the port's own")
    INVALID = (7, CONNTRACK_STATE, "invalid", "conntrack cannot place it in a connection")
    UNTRACKED = (8, CONNTRACK_STATE, "untracked", "conntrack did not see it")
    NOT_IN_CALL_GRAPH = (9, DAG_POLICY, "not-in-call-graph", "the caller may not call this vIP and port")
    DIRECT_TO_EIP = (10, DAG_POLICY, "direct-to-eip", "a new connection to an eIP, past the vIP")
    NO_SUCH_SERVICE = (11, DAG_POLICY, "no-such-service", "a new connection to what is no vIP")
    NO_SERVICE_ROW = (12, SERVICE_LB, "no-service-row", "admitted, but ServiceLb does not know the vIP")
    NOT_FROM_TRUNK = (14, INGRESS_POLICY, "not-from-trunk", "not TCP from another node")
    NO_ROUTE = (15, L3_FORWARD, "no-route", "no local port and no node has this eIP")
    DENIED = (20, DAG_POLICY, "denied-by-policy", "a provider's policy denies this call")

    def __init__(self, number: int, table: Table, label: str, sentence: str) -> None:
        self.number = number
        self.table = table
        self.label = label
        self.sentence = sentence


DROP_REASONS = {reason.number: reason for reason in DropReason}
