"""What host and guest tell each other over the control console: one JSON object a line. Pure.

The host sends one Order and then Signal and Resize; the guest sends Hello when it listens, Started
with its process's number, and one of Ended or Failed as its last word.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

CONSOLE_OUT, CONSOLE_ERR, CONSOLE_CONTROL = 1, 2, 3
"""Numbers of the guest's consoles (/dev/tty1 …). Console 0 is the kernel's own: the log."""


@dataclass(frozen=True)
class Hello:
    """The guest's console is ready to receive the order."""


@dataclass(frozen=True)
class Order:
    """What the guest shall run, and how it shall look like the host."""

    argv: list[str]
    cwd: str
    environment: dict[str, str]
    check: list[str]  # runs first, in the checkout; unless it exits 0 the command does not run
    checkout: str
    modules_folder: str
    modules: list[str]
    covered: list[str]
    out_is_terminal: bool
    err_is_terminal: bool
    err_joins_out: bool
    columns: int
    lines: int


@dataclass(frozen=True)
class Started:
    """The command runs; `uptime_s` is the guest's age then."""

    uptime_s: float


@dataclass(frozen=True)
class Signal:
    """A signal for the command."""

    number: int


@dataclass(frozen=True)
class Resize:
    """The host's terminal has a new size."""

    columns: int
    lines: int


@dataclass(frozen=True)
class Ended:
    """The command's exit code, 128 + number when a signal ended it. Its output has all been written."""

    exit_code: int


@dataclass(frozen=True)
class Failed:
    """The guest could not be made ready; `reason` is half a sentence for the user."""

    reason: str


Message = Hello | Order | Started | Signal | Resize | Ended | Failed
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Hello, Order, Started, Signal, Resize, Ended, Failed)}


def encode(message: Message) -> bytes:
    """One line, ASCII only, so that no console setting can change it."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)}).encode("ascii") + b"\n"


@dataclass
class Decoder:
    """Turns a stream of bytes, cut anywhere, into messages. Raises ValueError on a line that is none."""

    _rest: bytes = field(default=b"")

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are complete with `data`."""
        *complete, self._rest = (self._rest + data).split(b"\n")
        for line in complete:
            fields = json.loads(line)
            yield _KINDS[fields.pop("kind")](**fields)
