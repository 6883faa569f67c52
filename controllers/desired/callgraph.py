"""The call graph as the generator last took it in: who calls whom, found from either end. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from controllers.intents import Call


class CallGraph:
    """Calls, found from either end."""

    def __init__(self) -> None:
        self._callees: dict[int, set[int]] = {}
        self._callers: dict[int, set[int]] = {}

    def add(self, call: Call) -> None:
        self._callees.setdefault(call[0], set()).add(call[1])
        self._callers.setdefault(call[1], set()).add(call[0])

    def discard(self, call: Call) -> None:
        self._callees[call[0]].discard(call[1])
        self._callers[call[1]].discard(call[0])

    def __contains__(self, call: Call) -> bool:
        return call[1] in self._callees.get(call[0], ())

    def callees(self, caller: int) -> Iterable[int]:
        return self._callees.get(caller, ())

    def callers(self, callee: int) -> Iterable[int]:
        return self._callers.get(callee, ())
