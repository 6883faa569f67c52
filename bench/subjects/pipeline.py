"""What the pipeline adds to a direct call: through the whole of it, against plain forwarding rows, on the same hosts.

Rows above the pipeline's first table carry a's calls to b's eIP from some local ports past everything. Each
round asks both ways, in random order, with as many calls; the round is the unit of analysis.
"""

from __future__ import annotations

import random
import subprocess
from statistics import median

from bench.outcome import Estimate, Outcome, ratio_of_medians
from bench.rigs import labs
from bench.subject import Context
from testbed.model import addressing
from testbed.model.cluster import Instance, Route
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform

NAMESPACE = "bench"
PLAIN_PRIORITY = 300
"""Above every row of the pipeline's first table."""
PIPELINE_PORTS, PLAIN_PORTS, PORTS_MASK = 0x4000, 0x8000, 0xC000
"""First local ports of the two kinds of call: answers look alike otherwise, and only some may pass conntrack by."""


def add_plain_rows(lab: Lab, a: Instance, b: Instance) -> None:
    """Rows that carry a's calls to b's eIP, and the answers, past the pipeline: those from PLAIN_PORTS."""
    for source, target, port in ((a, b, "tp_src"), (b, a, "tp_dst")):
        row = (
            f"table=0,priority={PLAIN_PRIORITY},tcp,in_port={addressing.port_name(source.eip)},nw_dst={target.eip}"
            f",{port}={PLAIN_PORTS:#x}/{PORTS_MASK:#x}"
            f",actions=mod_dl_dst:{addressing.mac(target.eip)},output:{addressing.port_name(target.eip)}"
        )
        command = ["env", f"OVS_RUNDIR={lab.state_folder}/ovs/s{a.node}", "ovs-ofctl", "-O", "OpenFlow13"]
        subprocess.run(lab.command(f"node{a.node}", [*command, "add-flow", f"s{a.node}", row]), check=True)


def rounds(context: Context, vip: str, eip: str) -> list[dict[str, float]]:
    """Each round's median in ms by way."""
    count, calls = context.count(60, 3), context.count(25, 4)
    rng, used, measured = random.Random(context.seed), 0, []
    for n in range(count):
        context.progress(0.2 + 0.75 * n / count, f"round {n + 1} of {count}")
        times: dict[str, list[float]] = {"pipeline": [], "plain": []}
        for _ in range(calls):
            for way in rng.sample(list(times), 2):
                address, first_port = (vip, PIPELINE_PORTS) if way == "pipeline" else (eip, PLAIN_PORTS)
                times[way].append(labs.call_ms(address, local_port=first_port + used))
            used += 1
        measured.append({way: median(values) for way, values in times.items()})
    return measured


def run(context: Context) -> Outcome:
    with labs.fresh_lab() as lab:
        outcome = Outcome(datapath=lab.datapath)
        platform = Platform(lab)
        platform.deploy(labs.chain(2), NAMESPACE, Route.DIRECT, "node2")
        state = platform.state()
        caller, callee = (labs.instance_of(state, name, NAMESPACE) for name in ("chain-1", "chain-2"))
        add_plain_rows(lab, caller, callee)
        vip = state.functions[callee.function_name].vip
        measured = labs.in_host(lab, caller.id, lambda: rounds(context, vip, callee.eip))
    through, plain = ([one[way] for one in measured] for way in ("pipeline", "plain"))
    ratio = ratio_of_medians(through, plain, context.seed)
    outcome.figure("pipeline-p50", _added_pct(ratio), f"{median(through):.3f} against {median(plain):.3f} ms")
    outcome.add_series("through the pipeline, round's p50", "ms", through)
    outcome.add_series("over plain rows, round's p50", "ms", plain)
    return outcome


def _added_pct(ratio: Estimate) -> Estimate:
    low, high = (None if bound is None else 100 * (bound - 1) for bound in (ratio.low, ratio.high))
    return Estimate(100 * (ratio.value - 1), low, high)
