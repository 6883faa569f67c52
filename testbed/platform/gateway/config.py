"""The gateway's settings, from the environment variables that OpenFaaS's gateway reads.

Additional ones: `apiserver_url`, `gateway_upstream` (pooled or per-call), `upstream_idle_timeout`,
`metrics_port`, `metrics_readers` (SHA-256 of the credentials that may read metrics, in hexadecimal, with commas),
`function_port` (at which functions listen), `TESTBED_LISTEN_FD` (an inherited listening socket to serve besides the
port), `TESTBED_STATE` (the lab's folder, where counters are kept), and `TESTBED_CREDENTIAL` (the file with the
credential of the process's own).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from testbed.model import durations
from testbed.model.addressing import APISERVER_URL, FUNCTION_PORT, GATEWAY_METRICS_PORT
from testbed.model.cluster import DEFAULT_NAMESPACE
from testbed.model.credentials import BASIC_AUTH_FILES
from testbed.model.errors import EnvironmentProblem, UsageError
from testbed.platform.common.identity import own_credential

HISTORY = "gateway-counters.json"


@dataclass(frozen=True)
class Config:
    """Times in seconds; `credentials` is "user:password" in base64, None without basic auth.

    `own_credential` is what the apiserver knows this process by.
    """

    apiserver_host: str
    apiserver_port: int
    port: int
    metrics_port: int
    function_port: int
    listen_fd: int | None
    pooled: bool
    read_timeout_s: float
    write_timeout_s: float
    upstream_timeout_s: float
    upstream_idle_timeout_s: float
    max_idle_conns_per_host: int
    credentials: bytes | None
    default_namespace: str
    scale_from_zero: bool
    history: Path | None = None
    own_credential: str = ""
    metrics_readers: tuple[str, ...] = ()


def from_environment(environment: Mapping[str, str]) -> Config:
    """Read the settings.

    Raises UsageError for a value that cannot be understood and EnvironmentProblem for a missing secret.
    """
    apiserver = urlsplit(environment.get("apiserver_url") or APISERVER_URL)
    if not apiserver.hostname:
        raise UsageError(f"apiserver_url={environment.get('apiserver_url')} is no URL; write http://HOST:PORT")
    upstream = environment.get("gateway_upstream") or "pooled"
    if upstream not in ("pooled", "per-call"):
        raise UsageError(f"gateway_upstream={upstream} is unknown; write pooled or per-call")
    listen_fd = environment.get("TESTBED_LISTEN_FD")
    return Config(
        apiserver_host=apiserver.hostname,
        apiserver_port=apiserver.port or 80,
        port=_integer(environment, "port", FUNCTION_PORT),
        metrics_port=_integer(environment, "metrics_port", GATEWAY_METRICS_PORT),
        function_port=_integer(environment, "function_port", FUNCTION_PORT),
        listen_fd=_integer(environment, "TESTBED_LISTEN_FD", 0) if listen_fd else None,
        pooled=upstream == "pooled",
        read_timeout_s=_seconds(environment, "read_timeout", "65s"),
        write_timeout_s=_seconds(environment, "write_timeout", "65s"),
        upstream_timeout_s=_seconds(environment, "upstream_timeout", "60s"),
        upstream_idle_timeout_s=_seconds(environment, "upstream_idle_timeout", "60s"),
        max_idle_conns_per_host=_integer(environment, "max_idle_conns_per_host", 1024),
        credentials=_credentials(environment),
        default_namespace=environment.get("function_namespace") or DEFAULT_NAMESPACE,
        history=Path(environment["TESTBED_STATE"]) / HISTORY if environment.get("TESTBED_STATE") else None,
        own_credential=own_credential(environment),
        metrics_readers=tuple(filter(None, environment.get("metrics_readers", "").split(","))),
        scale_from_zero=_flag(environment, "scale_from_zero", default=True),
    )


def _seconds(environment: Mapping[str, str], name: str, default: str) -> float:
    value = environment.get(name) or default
    try:
        return durations.setting_s(value)
    except ValueError:
        raise UsageError(f"{name}={value} is no duration; write seconds (60) or a Go duration (1m30s)") from None


def _integer(environment: Mapping[str, str], name: str, default: int) -> int:
    value = environment.get(name) or str(default)
    if not value.isdecimal():
        raise UsageError(f"{name}={value} is no number; write a whole number")
    return int(value)


def _flag(environment: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = environment.get(name)
    return value.lower() in ("true", "1") if value else default


def _credentials(environment: Mapping[str, str]) -> bytes | None:
    if not _flag(environment, "basic_auth", default=False):
        return None
    folder = Path(environment.get("secret_mount_path") or "/run/secrets")
    try:
        user, password = ((folder / name).read_text().strip() for name in BASIC_AUTH_FILES)
    except OSError as error:
        raise EnvironmentProblem(
            f"basic_auth=true, but {error.filename} cannot be read; create it or set secret_mount_path"
        ) from error
    return base64.b64encode(f"{user}:{password}".encode())
