"""Trunks: the links between nodes, with delay, jitter, loss and rate that can be set and read while they carry.

Two realisations behind one interface: `NetemTrunk` (a veth pair with tc netem on both ends) and
`ElementTrunk` (the user-space delay element on two TAPs). Settings apply to each direction alike,
so a trunk with delay d adds d one way and 2d to a round trip.
"""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import dataclass
from typing import Any, Protocol

from testbed.model.checkout import CHECKOUT
from testbed.model.errors import LabError, UsageError
from testbed.network.process.cgroups import Cgroups

ELEMENT = CHECKOUT / "build" / "delay_element"
QUEUE_LIMIT_PACKETS = 10_000


@dataclass(frozen=True)
class LinkSettings:
    """One direction of a trunk. Delays in ms, loss in percent, rate in Mbit/s (0: unlimited)."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_pct: float = 0.0
    rate_mbit: float = 0.0

    def checked(self) -> LinkSettings:
        """Itself, or a UsageError that names the value out of range."""
        limits = {"delay_ms": 10_000.0, "jitter_ms": 10_000.0, "loss_pct": 100.0, "rate_mbit": 100_000.0}
        for name, limit in limits.items():
            value = getattr(self, name)
            if not 0 <= value <= limit:
                raise UsageError(f"{name} of a trunk is {value:g}; give a number from 0 to {limit:g}")
        if self.jitter_ms > self.delay_ms:
            raise UsageError(f"jitter_ms {self.jitter_ms:g} is larger than delay_ms {self.delay_ms:g}; raise the delay")
        return self


@dataclass(frozen=True)
class End:
    """One end of a trunk: interface `name` in the network namespace of process `pid`."""

    name: str
    pid: int


class Trunk(Protocol):
    """A link between two nodes whose settings can be changed and read back.

    `asked` are the settings last asked for; netem reads back in whole microseconds, rounded down.
    """

    asked: LinkSettings

    def set(self, settings: LinkSettings) -> None: ...
    def read(self) -> list[LinkSettings]:
        """The settings in force, read back from the kernel or the element, one a direction."""

    def counters(self) -> dict[str, Any]: ...
    def close(self) -> None: ...


class NetemTrunk:
    """A veth pair with netem on both ends."""

    def __init__(self, a: End, b: End) -> None:
        self.ends = (a, b)
        _run("ip", "link", "add", a.name, "netns", str(a.pid), "type", "veth", "peer", b.name, "netns", str(b.pid))
        for end in self.ends:
            _run(*_inside(end), "ip", "link", "set", end.name, "up")
        self.set(LinkSettings())

    def set(self, settings: LinkSettings) -> None:
        self.asked = settings
        arguments = ["limit", str(QUEUE_LIMIT_PACKETS), "delay", f"{settings.delay_ms * 1000:.0f}us"]
        if settings.jitter_ms:
            arguments.append(f"{settings.jitter_ms * 1000:.0f}us")
        if settings.loss_pct:
            arguments += ["loss", f"{settings.loss_pct:g}%"]
        if settings.rate_mbit:
            arguments += ["rate", f"{settings.rate_mbit * 1000:.0f}kbit"]
        for end in self.ends:
            _run(*_inside(end), "tc", "qdisc", "replace", "dev", end.name, "root", "netem", *arguments)

    def read(self) -> list[LinkSettings]:
        return [netem_settings(_run(*_inside(end), "tc", "-j", "qdisc", "show", "dev", end.name)) for end in self.ends]

    def counters(self) -> dict[str, Any]:
        return {
            end.name: json.loads(_run(*_inside(end), "tc", "-s", "-j", "qdisc", "show", "dev", end.name))
            for end in self.ends
        }

    def close(self) -> None:
        _run(*_inside(self.ends[0]), "ip", "link", "del", self.ends[0].name)


def netem_settings(tc_json: str) -> LinkSettings:
    """What `tc -j qdisc show` says of an interface's root netem (seconds, fractions, bytes/s there)."""
    for qdisc in json.loads(tc_json):
        if qdisc.get("kind") == "netem":
            options = qdisc["options"]
            delay = options.get("delay", {})
            return LinkSettings(
                delay_ms=round(delay.get("delay", 0.0) * 1000, 6),
                jitter_ms=round(delay.get("jitter", 0.0) * 1000, 6),
                loss_pct=round(options.get("loss-random", {}).get("loss", 0.0) * 100, 6),
                rate_mbit=options.get("rate", {}).get("rate", 0) * 8 / 1e6,
            )
    raise LabError("a trunk end has no netem qdisc any more; take the lab down and up again")


class ElementTrunk:
    """Two TAPs joined by one process of the delay element."""

    def __init__(self, a: End, b: End, cgroups: Cgroups, seed: int = 0) -> None:
        if not ELEMENT.exists():
            raise LabError(f"the delay element {ELEMENT} is missing; run `make setup`")
        arguments = [str(ELEMENT), f"/proc/{a.pid}/ns/net", a.name, f"/proc/{b.pid}/ns/net", b.name, str(seed)]
        # Not by `cgroups.spawn`: the element ends with the thread that started it.
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        group = f"switching/{a.name}-{b.name}"
        cgroups.make(group)
        cgroups.add(group, self._process.pid)
        self._lock = threading.Lock()
        self.name = f"{a.name}-{b.name}"
        self.pid = self._process.pid
        self.asked = LinkSettings()
        if self._line() != "ready":
            raise LabError(f"the delay element of trunk {self.name} did not start; its reason stands in logs/lab.log")

    def set(self, settings: LinkSettings) -> None:
        self.asked = settings
        self._ask(
            f"set {settings.delay_ms * 1e6:.0f} {settings.jitter_ms * 1e6:.0f}"
            f" {settings.loss_pct * 1e4:.0f} {settings.rate_mbit * 1e6:.0f}"
        )

    def read(self) -> list[LinkSettings]:
        answer = self._ask("get")
        settings = LinkSettings(
            delay_ms=answer["delay_ns"] / 1e6,
            jitter_ms=answer["jitter_ns"] / 1e6,
            loss_pct=answer["loss_ppm"] / 1e4,
            rate_mbit=answer["rate_bps"] / 1e6,
        )
        return [settings, settings]

    def counters(self) -> dict[str, Any]:
        return self._ask("get")

    def close(self) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()

    def _ask(self, line: str) -> dict[str, Any]:
        with self._lock:
            try:
                self._process.stdin.write(line + "\n")  # type: ignore[union-attr]
                self._process.stdin.flush()  # type: ignore[union-attr]
                return json.loads(self._line())
            except (OSError, ValueError) as error:
                raise LabError(f"the delay element of trunk {self.name} is gone; take the lab down and up") from error

    def _line(self) -> str:
        return self._process.stdout.readline().strip()  # type: ignore[union-attr]


def _inside(end: End) -> tuple[str, ...]:
    return ("nsenter", f"--net=/proc/{end.pid}/ns/net")


def _run(*argv: str) -> str:
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LabError(f"`{' '.join(argv)}` failed: {result.stderr.strip()}; the lab cannot set its trunks")
    return result.stdout
