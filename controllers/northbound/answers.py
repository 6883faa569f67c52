"""Answers of the REST interface: JSON, and refusals with their reason."""

from __future__ import annotations

import json
from typing import Any

from controllers import sdn


def json_response(value: Any, status: int = 200) -> Any:
    return sdn.Response(
        content_type="application/json", charset="utf-8", status=status, body=(json.dumps(value) + "\n").encode()
    )


def refused(reason: str, status: int) -> Any:
    return json_response({"error": reason}, status)
