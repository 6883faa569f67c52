"""The controller's REST interface, as far as it only reads. docs/pipeline.md describes the bodies.

GET /version, /intents, /flows/<node>, /counters, /latency, /metrics. A provider's own rules are
policies.py's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controllers import pipeline as p
from controllers import sdn
from controllers.hold.effects import Holding
from controllers.northbound.access import own_namespace
from controllers.northbound.answers import json_response, refused
from controllers.northbound.counters import counters, of_namespace
from controllers.northbound.explain import Names, actions_text, group_text, match_text, meter_text, sentence, thing
from controllers.northbound.metrics import exposition
from controllers.switch.channel import NoAnswer
from controllers.switch.crew import Crew
from controllers.switch.decoding import Entry


class Northbound(sdn.ControllerBase):
    """One object a request, as ryu has it; what it asks comes with the registration."""

    def __init__(self, req: Any, link: Any, data: dict[str, Any], **config: Any) -> None:
        super().__init__(req, link, data, **config)
        self._crew: Crew = data["crew"]
        self._holding: Holding = data["holding"]

    @sdn.route("version", "/version", methods=["GET"])
    def version(self, req: Any, **_: Any) -> Any:
        """Cheap, for it is polled; ?digest=now reads the switches' tables as well."""
        digests = self._crew.digests() if req.GET.get("digest") == "now" else None
        switches = {str(node): self._switch(node, digests) for node in sorted(self._nodes())}
        return json_response({**self._versions(), "switches": switches})

    @sdn.route("intents", "/intents", methods=["GET"])
    def intents(self, req: Any, **_: Any) -> Any:
        return json_response(self._crew.fleet.generator.index.intents().to_json())

    @sdn.route("flows", "/flows/{node}", methods=["GET"])
    def flows(self, req: Any, node: str, **_: Any) -> Any:
        worker = self._crew.workers.get(int(node.removeprefix("node"))) if _is_node(node) else None
        if worker is None:
            connected = ", ".join(map(str, sorted(self._crew.workers))) or "none"
            return refused(f"no switch of node {node} is connected; connected nodes: {connected}", 404)
        names = self._names()
        try:
            contents = worker.channel.contents()
        except NoAnswer as error:
            return refused(str(error), 503)
        entries = sorted(
            contents.entries,
            key=lambda entry: (entry.row.table, -entry.row.priority, entry.row.cookie, str(entry.row.match)),
        )
        return json_response(
            {
                "rows": [_row(entry, names) for entry in entries],
                "groups": [
                    {"id": group.id, "object": names.workload(group.id), "text": group_text(group)}
                    for group in contents.groups
                ],
                "meters": [{"id": meter.id, "text": meter_text(meter)} for meter in contents.meters],
            }
        )

    @sdn.route("counters", "/counters", methods=["GET"])
    def counters(self, req: Any, **_: Any) -> Any:
        found, own = self._counters(), own_namespace(req)
        return json_response(found if own is None else of_namespace(found, own))

    @sdn.route("latency", "/latency", methods=["GET"])
    def latency(self, req: Any, **_: Any) -> Any:
        return json_response(self._crew.latencies())

    @sdn.route("metrics", "/metrics", methods=["GET"])
    def metrics(self, req: Any, **_: Any) -> Any:
        crew = self._crew
        repaired = {node: switch.repaired for node, switch in crew.fleet.switches.items()}
        body = exposition(self._counters(), crew.latencies(), self._versions(), len(crew.workers), repaired)
        return sdn.Response(content_type="text/plain", charset="utf-8", body=body)

    def _versions(self) -> dict[str, int]:
        return {"applied": self._crew.applied, "seen": self._crew.fleet.version}

    def _counters(self) -> dict[str, list[dict[str, Any]]]:
        return counters(self._crew.readings(), self._names(), self._holding.statistics())

    def _names(self) -> Names:
        return names_of(self._crew)

    def _nodes(self) -> set[int]:
        return {*self._crew.fleet.generator.index.state.nodes, *self._crew.workers}

    def _switch(self, node: int, digests: Mapping[int, tuple[str | None, str]] | None) -> dict[str, Any]:
        fleet, worker = self._crew.fleet, self._crew.workers.get(node)
        found: dict[str, Any] = {
            "connected": worker is not None,
            "applied": fleet.reached(node).version,
            "answers": self._crew.answers(node),
            "silent_s": round(self._crew.silent_s(node), 3),
        }
        if digests is not None:
            digest, desired = digests.get(node, (None, None))
            found |= {"digest": digest, "desired_digest": desired}
        if worker is not None:
            switch = worker.switch
            found |= {
                "held_back": switch.held_back(fleet.desired(node)),
                "repaired": switch.repaired,
                "conntrack_flush": worker.channel.can_flush,
            }
        return found


def names_of(crew: Crew) -> Names:
    """Everybody's name, as of now."""
    generator = crew.fleet.generator
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
