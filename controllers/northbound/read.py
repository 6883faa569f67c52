"""The controller's REST interface, as far as it only reads. docs/pipeline.md describes the bodies.

GET /version, /intents, /flows/<node>, /counters, /latency, /metrics. A provider's own rules are
policy_routes.py's.
"""

from __future__ import annotations

import json
from time import monotonic
from typing import Any

from controllers import pipeline as p
from controllers import sdn
from controllers.conductor import Conductor
from controllers.northbound.counters import counters
from controllers.northbound.explain import Names, actions_text, group_text, match_text, meter_text, sentence, thing
from controllers.northbound.metrics import exposition
from controllers.switch.channel import NoAnswer
from controllers.switch.translator import Entry

DIGEST_AGE_S = 1.0
"""GET /version reads the switches' tables at most this often, for it is polled; ?digest=now always does."""


class Northbound(sdn.ControllerBase):
    """One object a request, as ryu has it; the conductor comes with the registration."""

    _digests: tuple[float, int, dict[str, Any]] = (float("-inf"), -1, {})

    def __init__(self, req: Any, link: Any, data: dict[str, Any], **config: Any) -> None:
        super().__init__(req, link, data, **config)
        self._conductor: Conductor = data["conductor"]

    @sdn.route("version", "/version", methods=["GET"])
    def version(self, req: Any, **_: Any) -> Any:
        conductor = self._conductor
        switches = self._switches(fresh=req.GET.get("digest") == "now")
        return json_response({"applied": conductor.applied, "seen": conductor.fleet.version, "switches": switches})

    @sdn.route("intents", "/intents", methods=["GET"])
    def intents(self, req: Any, **_: Any) -> Any:
        return json_response(self._conductor.fleet.generator.index.intents().to_json())

    @sdn.route("flows", "/flows/{node}", methods=["GET"])
    def flows(self, req: Any, node: str, **_: Any) -> Any:
        channel = self._conductor.channels.get(int(node.removeprefix("node"))) if _is_node(node) else None
        if channel is None:
            connected = ", ".join(map(str, sorted(self._conductor.channels))) or "none"
            return json_response({"error": f"no switch of node {node} is connected; connected nodes: {connected}"}, 404)
        names = self._names()
        try:
            entries, groups, meters = channel.entries(), channel.groups(), channel.meters()
        except NoAnswer as error:
            return json_response({"error": str(error)}, 503)
        entries.sort(key=lambda entry: (entry.row.table, -entry.row.priority, entry.row.cookie, str(entry.row.match)))
        return json_response(
            {
                "rows": [_row(entry, names) for entry in entries],
                "groups": [
                    {"id": group.id, "object": names.workload(group.id), "text": group_text(group)} for group in groups
                ],
                "meters": [{"id": meter.id, "text": meter_text(meter)} for meter in meters],
            }
        )

    @sdn.route("counters", "/counters", methods=["GET"])
    def counters(self, req: Any, **_: Any) -> Any:
        return json_response(self._counters())

    @sdn.route("latency", "/latency", methods=["GET"])
    def latency(self, req: Any, **_: Any) -> Any:
        return json_response(self._conductor.latencies())

    @sdn.route("metrics", "/metrics", methods=["GET"])
    def metrics(self, req: Any, **_: Any) -> Any:
        conductor = self._conductor
        body = exposition(
            self._counters(),
            conductor.latencies(),
            {"applied": conductor.applied, "seen": conductor.fleet.version},
            len(conductor.channels),
        )
        return sdn.Response(content_type="text/plain", charset="utf-8", body=body)

    def _counters(self) -> dict[str, list[dict[str, Any]]]:
        return counters(self._conductor.readings(), self._names(), self._conductor.holding.statistics())

    def _names(self) -> Names:
        return names_of(self._conductor)

    def _switches(self, fresh: bool) -> dict[str, Any]:
        conductor = self._conductor
        read_at, changes, found = Northbound._digests
        stale = monotonic() - read_at > DIGEST_AGE_S or changes != conductor.changes_sent
        if fresh or stale or {int(node) for node in found} != self._nodes():
            found = {str(node): self._switch(node) for node in sorted(self._nodes())}
            Northbound._digests = (monotonic(), conductor.changes_sent, found)
        return {node: {**switch, "connected": int(node) in conductor.channels} for node, switch in found.items()}

    def _nodes(self) -> set[int]:
        return {*self._conductor.fleet.generator.index.state.nodes, *self._conductor.channels}

    def _switch(self, node: int) -> dict[str, Any]:
        fleet, channel = self._conductor.fleet, self._conductor.channels.get(node)
        if channel is None or node not in fleet.switches:
            return {"connected": False, "digest": None, "desired_digest": None}
        digest, desired = self._conductor.digests(node)
        return {
            "connected": True,
            "digest": digest,
            "desired_digest": desired,
            "held_back": fleet.switches[node].held_back(fleet.desired(node)),
            "conntrack_flush": channel.can_flush,
        }


def names_of(conductor: Conductor) -> Names:
    """Everybody's name, as of now."""
    generator = conductor.fleet.generator
    return Names(generator.index.workloads, generator.index.ports, generator.policies.behind())


def _is_node(text: str) -> bool:
    return text.removeprefix("node").isdecimal()


def _row(entry: Entry, names: Names) -> dict[str, Any]:
    row, category = entry.row, p.category_of(entry.row.cookie)
    return {
        "table": row.table,
        "table_name": p.TABLE_NAMES.get(row.table, ""),
        "priority": row.priority,
        "match": match_text(row.match),
        "actions": actions_text(row.actions),
        "cookie": f"{p.with_round(row.cookie, entry.round):#x}",
        "category": category.name.lower().replace("_", "-") if category else "unknown",
        "object": thing(row, names),
        "sentence": sentence(row, names),
        "packets": entry.packets,
        "bytes": entry.bytes,
        "age_s": round(entry.age_s, 3),
    }


def json_response(value: Any, status: int = 200) -> Any:
    return sdn.Response(
        content_type="application/json", charset="utf-8", status=status, body=(json.dumps(value) + "\n").encode()
    )
