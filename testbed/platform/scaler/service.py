"""What the scaler is asked from outside: the watch's news, activations, and questions about one function.

It hands on to the engine and the activator; it speaks no HTTP and decides nothing about loads.
"""

from __future__ import annotations

import logging

from testbed.model.cluster import ClusterState, Function
from testbed.model.errors import PlatformError
from testbed.model.scaling.settings import Settings
from testbed.platform.scaler.activation import Activator, UnknownFunction, WillNotScale, first_replicas
from testbed.platform.scaler.engine import Engine

log = logging.getLogger("scaler")


class Scaler:
    """The engine, and what comes in from outside."""

    def __init__(self, engine: Engine, activator: Activator) -> None:
        self.engine = engine
        self._activator = activator

    def changed(self, state: ClusterState) -> None:
        """The watch's news. Stores are not scaled."""
        state = state.without_stores()
        self.engine.changed(state)
        for function in state.functions.values():
            if function.replicas:
                self._activator.seen(function.full_name)

    async def activate(self, full_name: str) -> int:
        """Bring a function from zero to its first instances; the replicas that it has or gets.

        Raises UnknownFunction, WillNotScale, or PlatformError when the apiserver does not agree.
        """
        function = self.function(full_name)
        if function.replicas:
            return function.replicas
        replicas = first_replicas(function, self.settings(function))
        if self.engine.dry_run:
            raise WillNotScale("the scaler only says what it would do (dry run); scale by hand")
        if await self._activator.activate(function, replicas):
            self.engine.activated(function, replicas)
            log.info("%s: 0 -> %d, a call waits", full_name, replicas)
        return replicas

    def function(self, full_name: str) -> Function:
        """Raises UnknownFunction, or PlatformError before the apiserver has told anything."""
        state = self.engine.state
        if not state.nodes:
            raise PlatformError("the scaler has not heard from the apiserver yet; ask again in a moment")
        if full_name not in state.functions:
            raise UnknownFunction(f"there is no function {full_name}; `testbed status` lists functions")
        return state.functions[full_name]

    def settings(self, function: Function) -> Settings | None:
        """None when the function is not scaled."""
        scaled = self.engine.scaled.get(function.full_name)
        return scaled.settings if scaled else None
