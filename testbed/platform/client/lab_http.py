"""Single requests into the lab, past any proxy that the machine's environment names: it is no way into the lab.

`Platform` (client.py) is for whoever asks the apiserver more than once.
"""

from __future__ import annotations

import requests


def get(url: str, timeout_s: float) -> requests.Response:
    """GET `url`, an address inside the lab or its gateway's; raises requests.RequestException."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=timeout_s)
