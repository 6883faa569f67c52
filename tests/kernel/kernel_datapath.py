"""Runs inside the lab kernel's guest: the kernel features a lab stands on, each used once; prints what it saw as JSON.

Three switches in a row on the OVS kernel datapath, netem on both ends of both trunks, and a virtual IP
whose select group commits connections, with destination NAT, in the first switch's conntrack zone.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import mininet.net
from mininet.link import TCLink
from mininet.net import Mininet
from mininet.node import Host, OVSSwitch
from mininet.topo import LinearTopo

VIP, PORT, DELAY_MS, CONNECTIONS = "10.96.0.1", 8080, 0.5, 40
SERVER = """
import http.server, sys
class Name(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(sys.argv[1].encode())
http.server.ThreadingHTTPServer(("", 8080), Name).serve_forever()
"""
CLIENT = f"""
import urllib.request
for _ in range({CONNECTIONS}):
    print(urllib.request.urlopen("http://{VIP}:{PORT}/", timeout=10).read().decode())
"""


def call(*command: str) -> str:
    """A program's output; raises with what it said when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.stderr}")
    return done.stdout


def start_ovs() -> None:
    """The guest's own OVS, in the folders that every tool looks in."""
    database, schema = "/etc/openvswitch/conf.db", "/usr/share/openvswitch/vswitch.ovsschema"
    daemon = ("--pidfile", "--detach", "--no-chdir", "--log-file")
    call("ovsdb-tool", "create", database, schema)
    call("ovsdb-server", database, "--remote=punix:/run/openvswitch/db.sock", *daemon)
    call("ovs-vsctl", "--no-wait", "init")
    call("ovs-vswitchd", *daemon)


def program(net: Mininet) -> None:
    """Every switch tracks connections in a zone of its own; the first one serves the virtual IP."""
    for zone, name in enumerate(("s1", "s2", "s3"), 1):
        flows = [
            "table=0,priority=0,actions=NORMAL",
            f"table=0,priority=9,ip,actions=ct(zone={zone},nat,table=1)",
            "table=1,priority=9,ct_state=+trk+inv,actions=drop",
            f"table=1,priority=5,ip,ct_state=+trk+new,actions=ct(commit,zone={zone}),goto_table:2",
            "table=1,priority=0,actions=goto_table:2",
            "table=2,priority=0,actions=NORMAL",
        ]
        if name == "s1":
            flows.append(f"table=1,priority=8,tcp,ct_state=+trk+new,nw_dst={VIP},tp_dst={PORT},actions=group:1")
            buckets = []
            for host in (net["h2"], net["h3"]):
                flows.append(f"table=2,priority=5,ip,nw_dst={host.IP()},actions=set_field:{host.MAC()}->eth_dst,NORMAL")
                buckets.append(f"bucket=actions=ct(commit,zone=1,nat(dst={host.IP()}:{PORT}),table=2)")
            call("ovs-ofctl", "-O", "OpenFlow13", "add-group", name, f"group_id=1,type=select,{','.join(buckets)}")
        for flow in flows:
            call("ovs-ofctl", "-O", "OpenFlow13", "add-flow", name, flow)


def trunk_ends(net: Mininet) -> list[str]:
    """The interfaces at both ends of both trunks."""
    pairs = (("s1", "s2"), ("s2", "s3"))
    return [intf.name for a, b in pairs for ends in net[a].connectionsTo(net[b]) for intf in ends]


def round_trip_ms(host: Host, address: str) -> float:
    """The least of 50 round trips."""
    return float(re.search(r"= ([\d.]+)/", host.cmd(f"ping -q -i 0.02 -c 50 {address}")).group(1))


def observe(net: Mininet) -> dict[str, object]:
    """Uses everything once."""
    seen: dict[str, object] = {"lost_percent": net.pingAll()}
    without_ms = round_trip_ms(net["h1"], net["h3"].IP())
    for name in trunk_ends(net):
        call("tc", "qdisc", "add", "dev", name, "root", "netem", "delay", f"{DELAY_MS}ms", "limit", "10000")
    seen["added_round_trip_ms"] = round_trip_ms(net["h1"], net["h3"].IP()) - without_ms
    queues = [json.loads(call("tc", "-j", "qdisc", "show", "dev", name))[0] for name in trunk_ends(net)]
    seen["delays_ms"] = [queue["options"]["delay"]["delay"] * 1000 for queue in queues]
    for name in ("h2", "h3"):
        net[name].popen([sys.executable, "-c", SERVER, name])
    deadline = time.monotonic() + 30
    while any("8080" not in net[name].cmd("ss -Hltn") for name in ("h2", "h3")) and time.monotonic() < deadline:
        time.sleep(0.2)
    net["h1"].cmd(f"ip route add {VIP} dev h1-eth0 && arp -s {VIP} 02:00:00:00:00:01")
    answers, errors, _ = net["h1"].pexec([sys.executable, "-c", CLIENT])
    seen["answers"], seen["client_errors"] = answers.split(), errors
    tracked = call("ovs-appctl", "dpctl/dump-conntrack").splitlines()
    seen["connections_in_zone_1"] = sum(f"dst={VIP}" in line and "zone=1" in line for line in tracked)
    return seen


def main() -> None:
    """Prints one line of JSON."""
    mininet.net.fixLimits = lambda: None  # it would raise the limit of open files, and slow every fork down
    start_ovs()
    net = Mininet(LinearTopo(3), switch=OVSSwitch, controller=None, link=TCLink, autoStaticArp=True)
    net.start()
    try:
        program(net)
        report = call("ovs-appctl", "dpif/show-dp-features", "s1")
        release = Path("/proc/sys/kernel/osrelease").read_text().strip()
        print(json.dumps({"ct_zone": "CT zone: Yes" in report, "release": release, **observe(net)}))
    finally:
        net.stop()


if __name__ == "__main__":
    main()
