"""Requests as the controller's routes get them: behind the guard, which has said who asks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from testbed.model.cluster import Deployment
from testbed.model.credentials import OPERATOR, namespace


def asked(own: str = "", **parts: Any) -> SimpleNamespace:
    """A request of this namespace, or of the operator."""
    caller = namespace(Deployment(own, born=1)) if own else OPERATOR
    return SimpleNamespace(environ={"testbed.caller": caller}, **parts)
