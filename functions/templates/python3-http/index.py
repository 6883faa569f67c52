"""Serves `function/handler.py` as OpenFaaS's python3-http template does, with of-watchdog's manners.

A handler written for that template runs unmodified: `handle(event, context)` gets body (bytes),
headers, method, query and path, and returns None, text, bytes, a dictionary {"statusCode", "body",
"headers"} or a Flask-style tuple. of-watchdog's part happens in the same process: exec_timeout
(504), max_inflight (429), /_/health, /_/ready, X-Duration-Seconds, a drained exit on SIGTERM.
Every invocation leaves one JSON line on standard output. Standard library and waitress only: the
import time of a framework would be cold-start time.

Settings come from the environment; see runtime/settings.py.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from runtime.application import Application
from runtime.server import serve
from runtime.settings import Settings


def main() -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s %(levelname)s %(message)s")
    settings = Settings.from_environment(os.environ)
    from function import handler  # after the settings, so that a mistake in them is reported first

    return serve(Application(settings, handler.handle), settings)


if __name__ == "__main__":
    sys.exit(main())
