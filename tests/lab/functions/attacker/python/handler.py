"""An attacker's function: a request's body is a tool of tools/ and its arguments, one a line; the answer is its own.

Each tool runs in a process of its own, which has the rights that this one has: it may leave its namespaces or crash.
"""

import contextlib
import subprocess
import sys
from pathlib import Path

PATIENCE_S = 30


def descriptors():
    """What is open now, before the server has opened anything."""
    found = []
    for link in sorted(Path("/proc/self/fd").iterdir(), key=lambda one: int(one.name)):
        with contextlib.suppress(OSError):  # the folder that was just listed
            found.append(f"{link.name} {link.readlink()}")
    return "\n".join(found)


INHERITED = descriptors()


def handle(event, context):
    words = event.body.decode().split("\n")
    if words == ["descriptors"]:
        return {"statusCode": 200, "body": f"yes\n{INHERITED}"}
    command = (sys.executable, "-m", "function.tools", *words)
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {"statusCode": 200, "body": "no\nno end"}
    except OSError as error:
        return {"statusCode": 200, "body": f"no\nnot begun: {error.strerror}"}
    return {"statusCode": 200, "body": done.stdout}
