"""Who reaches whom in a deployed application, beside what its call graph says (the paper's Table 1).

`Plan` says which connections to try and judges their outcomes; it opens none itself. A pair passes when the caller
gets through to the callee: on either route by the callee's vIP, and on the gateway route also by the gateway, which
forwards to every function of every namespace whatever the call graph says (the paper's problem P3). There a request
to the callee's /_/health is tried: no handler runs, but the gateway counts it as an invocation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from testbed.model import addressing
from testbed.model.application import Application
from testbed.model.cluster import ClusterState, Function, Instance, Phase, Route
from testbed.model.errors import UsageError
from testbed.network.hosts.attempts import Attempt, Outcome, Result
from testbed.observe.callgraph import GATEWAY

_THROUGH = (b"200", b"401")
"""Statuses of the gateway that mean a function could call: 401 asks for a token, which every function of the
namespace can read."""


@dataclass(frozen=True)
class Cell:
    """An ordered pair. `tried` are the caller's instances, `through` those of them that reached the callee's vIP.

    `eip`: some instance reached one of the callee's past its vIP. `by_gateway`: it was answered by the gateway.
    """

    caller: str
    callee: str
    declared: bool
    tried: int
    through: int
    eip: bool = False
    by_gateway: bool = False

    @property
    def passes(self) -> bool:
        return self.through > 0 or self.by_gateway

    @property
    def symbol(self) -> str:
        """For a table: + and - are what should not be."""
        if self.declared:
            return "●" if self.passes else "-"
        return "+" if self.passes else "·"


@dataclass(frozen=True)
class Matrix:
    """All pairs of one namespace. `gateway`: caller -> whether it reaches the gateway."""

    application: str
    namespace: str
    route: Route
    callers: tuple[str, ...]
    callees: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]
    gateway: Mapping[str, bool]
    stores: frozenset[str] = frozenset()

    def differences(self) -> list[str]:
        """Every way in which what passes differs from the call graph, as a sentence."""
        found = [sentence for cell in self.cells.values() for sentence in self._of(cell)]
        indirect = [cell for cell in self.cells.values() if cell.by_gateway and not cell.declared]
        if indirect:
            found.append(
                f"{len(indirect)} pairs that the call graph does not name pass by the gateway, which forwards to any "
                "function"
            )
        for caller, reaches in self.gateway.items():
            if reaches and (self.route is Route.DIRECT or caller in self.stores):
                found.append(f"{caller} reaches the gateway, and with it every function")
            if not reaches and self.route is Route.GATEWAY and caller not in self.stores:
                found.append(f"{caller} does not reach the gateway")
        return found

    def _of(self, cell: Cell) -> list[str]:
        pair, found = f"{cell.caller} → {cell.callee}", []
        by_vip = self.route is Route.DIRECT or cell.callee in self.stores
        if cell.through and not by_vip:
            found.append(f"{pair} passes without the gateway")
        elif cell.through and not cell.declared:
            found.append(f"{pair} passes and is not in the call graph")
        if cell.declared and by_vip and cell.through < cell.tried:
            found.append(f"{pair} is in the call graph and {cell.tried - cell.through} of {cell.tried} instances fail")
        if cell.declared and not by_vip and not cell.by_gateway:
            found.append(f"{pair} is in the call graph and does not pass by the gateway")
        if cell.eip:
            found.append(f"{pair} reaches an instance past its vIP")
        return found

    def verdict(self) -> str:
        """One sentence, the first of the differences included."""
        where = f"{self.namespace} ({self.route.value} route)"
        differences = self.differences()
        if differences:
            more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
            return f"{where}: differs from the call graph: {differences[0]}{more}"
        declared = sum(cell.declared for cell in self.cells.values())
        return (
            f"{where}: exactly the {declared} calls of the call graph pass; the other {len(self.cells) - declared} "
            "pairs, every instance past its vIP" + (" and the gateway" if self.route is Route.DIRECT else "")
            + " are out of reach"
        )  # fmt: skip

    def rows(self) -> list[dict[str, str | int | bool]]:
        """One row a pair, for CSV and JSON."""
        return [
            {
                "namespace": self.namespace,
                "route": self.route.value,
                "caller": cell.caller,
                "callee": cell.callee,
                "declared": cell.declared,
                "passes": cell.passes,
                "instances_tried": cell.tried,
                "instances_through": cell.through,
                "past_vip": cell.eip,
                "by_gateway": cell.by_gateway,
            }
            for cell in self.cells.values()
        ]


class Plan:
    """The connections that decide one namespace's matrix. UsageError where a function has no ready instance."""

    def __init__(self, application: Application, state: ClusterState, namespace: str) -> None:
        self.application, self.namespace = application, namespace
        self.route = state.route(namespace)
        there = {one.name: one for one in state.functions.values() if one.namespace == namespace}
        functions = [spec.name for spec in application.functions if spec.name in there]
        self.stores = frozenset(name for name, function in there.items() if function.store)
        self.names = (*functions, *sorted(self.stores))
        self._functions = there
        self._instances = {name: _ready(state, there[name]) for name in self.names}
        self._declared = {
            (spec.name, callee)
            for spec in application.functions
            for callee in (*spec.calls, *spec.stores)
        }  # fmt: skip
        missing = [name for name in self.names if not self._instances[name]]
        if missing:
            raise UsageError(_lacking(missing, namespace, self.stores))

    def pairs(self) -> list[tuple[str, str]]:
        """Every ordered pair of functions, and of functions and stores."""
        return [(caller, callee) for caller in self.names for callee in self.names if caller != callee]

    def attempts(self) -> list[Attempt]:
        """To every callee's vIP and to one instance's eIP, and to the gateway, from every instance."""
        found = []
        for caller in self.names:
            for instance in self._instances[caller]:
                found += [self._to(instance, callee) for callee in self.names if callee != caller]
                found += [self._past(instance, callee) for callee in self.names if callee != caller]
                found.append(_to_gateway(instance))
        return found

    def by_gateway(self) -> list[Attempt]:
        """On the gateway route, from one instance of every function: a request by the gateway to each other one."""
        if self.route is not Route.GATEWAY:
            return []
        return [self._through(a, b) for a, b in self.pairs() if not {a, b} & self.stores]

    def expected(self) -> list[Attempt]:
        """Those of the attempts that must be answered: worth a second try where one is not."""
        found = []
        for caller in self.names:
            for instance in self._instances[caller]:
                found += [
                    self._to(instance, callee)
                    for callee in self.names
                    if (caller, callee) in self._declared and (self.route is Route.DIRECT or callee in self.stores)
                ]
                if self.route is Route.GATEWAY and caller not in self.stores:
                    found.append(_to_gateway(instance))
        return found

    def judge(self, outcomes: Mapping[Attempt, Outcome]) -> Matrix:
        """The matrix, from the outcome of every attempt."""

        def answered(attempt: Attempt) -> bool:
            return outcomes[attempt].result is Result.ANSWERED

        def cell(caller: str, callee: str) -> Cell:
            own = self._instances[caller]
            through = self._through(caller, callee)
            return Cell(
                caller,
                callee,
                (caller, callee) in self._declared,
                tried=len(own),
                through=sum(answered(self._to(one, callee)) for one in own),
                eip=any(answered(self._past(one, callee)) for one in own),
                by_gateway=through in outcomes and _status(outcomes[through]) in _THROUGH,
            )

        reaches = {caller: any(answered(_to_gateway(one)) for one in self._instances[caller]) for caller in self.names}
        cells = {pair: cell(*pair) for pair in self.pairs()}
        return Matrix(
            self.application.name, self.namespace, self.route, self.names, self.names, cells, reaches, self.stores
        )  # fmt: skip

    def _to(self, instance: Instance, callee: str) -> Attempt:
        function = self._functions[callee]
        return Attempt(instance.id, instance.eip, function.vip, function.port)

    def _past(self, instance: Instance, callee: str) -> Attempt:
        target = self._instances[callee][0].eip
        return Attempt(instance.id, instance.eip, target, self._functions[callee].port)

    def _through(self, caller: str, callee: str) -> Attempt:
        path = f"/function/{callee}.{self.namespace}/_/health"
        request = f"GET {path} HTTP/1.1\r\nHost: {GATEWAY}.openfaas:8080\r\nConnection: close\r\n\r\n"
        return _to_gateway(self._instances[caller][0], request.encode())


def second_tries(expected: Iterable[Attempt], outcomes: Mapping[Attempt, Outcome]) -> list[Attempt]:
    """Attempts that should have been answered and were not: a busy machine may lose a packet of many."""
    return [attempt for attempt in expected if outcomes[attempt].result is not Result.ANSWERED]


def lines(matrix: Matrix) -> list[str]:
    """The matrix as text: callers in rows, callees in columns by their row's number, the gateway last."""
    numbers = [str(number) for number in range(1, len(matrix.callees) + 1)]
    labels = [
        f"{number:>2} {name}" + (" (store)" if name in matrix.stores else "")
        for number, name in zip(numbers, matrix.callers, strict=True)
    ]
    width = max(map(len, labels), default=0)
    found = [" " * width + "".join(f"{number:>3}" for number in numbers) + "  gateway"]
    for label, caller in zip(labels, matrix.callers, strict=True):
        symbols = [" " if caller == callee else matrix.cells[caller, callee].symbol for callee in matrix.callees]
        reaches = "reached" if matrix.gateway[caller] else "·"
        found.append(f"{label:<{width}}" + "".join(f"{symbol:>3}" for symbol in symbols) + f"  {reaches}")
    return found


KEY = "● passes, in the call graph   · out of reach, not in it   + passes, not in it   - in it, out of reach"


def _to_gateway(instance: Instance, request: bytes = b"") -> Attempt:
    gateway = addressing.vip(addressing.GATEWAY_ID)
    return Attempt(instance.id, instance.eip, gateway, addressing.FUNCTION_PORT, request)


def _lacking(missing: Sequence[str], namespace: str, stores: frozenset[str]) -> str:
    """What to do about functions, and stores, that could not answer."""
    named = ", ".join(f"{name}.{namespace}" for name in missing)
    scale = " and ".join(f"`testbed scale {name}.{namespace} 1`" for name in missing if name not in stores)
    remedy = f"first {scale}" if scale else "see `testbed status`"
    return f"{named} has no ready instance, which the matrix needs of everybody; {remedy}"


def _ready(state: ClusterState, function: Function) -> Sequence[Instance]:
    return sorted(
        (one for one in state.instances.values()
         if one.function_name == function.full_name and one.phase is Phase.READY),
        key=lambda one: one.id,
    )  # fmt: skip


def _status(outcome: Outcome) -> bytes:
    """The status of an HTTP reply, b"" where there was none."""
    parts = outcome.reply.split()
    return parts[1] if len(parts) > 1 and outcome.result is Result.ANSWERED else b""
