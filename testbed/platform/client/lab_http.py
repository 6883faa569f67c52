"""Requests into the lab, past any proxy that the machine's environment names: it is no way into the lab.

Here, and nowhere else on the client's side, a request gets its proof of who asks.
"""

from __future__ import annotations

from pathlib import Path

import requests

from testbed.model.credentials import BASIC_AUTH_FILES, basic, bearer, file_of
from testbed.model.errors import EnvironmentProblem


def session(authorization: str = "") -> requests.Session:
    """Kept connections that send this value of the Authorization header with every request, "" none."""
    made = requests.Session()
    made.trust_env = False
    if authorization:
        made.headers["Authorization"] = authorization
    return made


def get(url: str, timeout_s: float, authorization: str = "") -> requests.Response:
    """GET `url`, an address inside the lab or its gateway's; raises requests.RequestException."""
    with session(authorization) as one:
        return one.get(url, timeout=timeout_s)


def operator(state_folder: Path) -> str:
    """The proof that apiserver, controller and scaler take for the operator's. EnvironmentProblem for who may not."""
    return bearer(read(file_of(state_folder, "operator")))


def operator_at_gateway(state_folder: Path) -> str:
    """The same for the gateway, also another program in its place: it gets to know what it knows already."""
    user, password = (read(state_folder / "secrets" / name) for name in BASIC_AUTH_FILES)
    return basic(user, password)


def read(file: Path) -> str:
    """A credential. EnvironmentProblem, one sentence, where it cannot be read."""
    try:
        return file.read_text().strip()
    except PermissionError:
        raise EnvironmentProblem(f"{file} belongs to root; use sudo") from None
    except OSError as error:
        raise EnvironmentProblem(f"{file} cannot be read ({error.strerror}); is this a running lab's?") from error
