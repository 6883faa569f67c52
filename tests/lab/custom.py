"""Functions whose code a test writes itself, deployed as any user would deploy theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from testbed.model.cluster import Route
from testbed.model.stack import stack_file
from testbed.platform.client.platform import Platform


def deploy(
    platform: Platform, folder: Path, namespace: str, handler: str, route: Route = Route.DIRECT, **settings: Any
) -> None:
    """One function "f" with this handler source, in a namespace of its own; `settings` as in FunctionSpec."""
    code = folder / "f"
    code.mkdir()
    (code / "handler.py").write_text(handler)
    function = {
        "lang": "python3-http",
        "handler": "./f",
        "image": f"{namespace}/f:1",
        "annotations": {"directfaas/ingress": "true"},
    }
    file = folder / "stack.yaml"
    provider = {"name": "openfaas", "gateway": "http://127.0.0.1:8080"}
    file.write_text(yaml.safe_dump({"version": "1.0", "provider": provider, "functions": {"f": function}}))
    application = stack_file.load(file, {})
    functions = tuple(replace(function, **settings) for function in application.functions)
    platform.deploy(replace(application, functions=functions), namespace, route, "spread")
