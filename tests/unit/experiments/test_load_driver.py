"""The load driver, run as the process it is, against a tiny server on loopback."""

import csv
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from experiments.load.plan import PlannedRequest, read_results, write_rows

CHECKOUT = Path(__file__).parents[3]


class ChainStandIn(BaseHTTPRequestHandler):
    """Answers like a chain; /fails answers 500, /wrong leaves a function out. Counts its connections."""

    def setup(self):
        super().setup()
        self.server.connections += 1

    def do_GET(self):
        parts = urlsplit(self.path)
        length = int(parse_qs(parts.query).get("length", ["1"])[0])
        self.server.call_ids.append(self.headers["X-Call-Id"])
        visited = [f"chain-{position}" for position in range(1, length + (parts.path != "/wrong"))]
        body = json.dumps({"functions": visited}).encode()
        self.send_response(500 if parts.path == "/fails" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    standing = ThreadingHTTPServer(("127.0.0.1", 0), ChainStandIn)
    standing.connections, standing.call_ids = 0, []
    thread = threading.Thread(target=standing.serve_forever, daemon=True)
    thread.start()
    yield standing
    standing.shutdown()
    standing.server_close()


@pytest.fixture(scope="module")
def driver():
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.load.driver"],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert json.loads(process.stdout.readline()) == {"ready": True}

    def ask(**command):
        process.stdin.write(
            json.dumps({key: str(value) if isinstance(value, Path) else value for key, value in command.items()}) + "\n"
        )
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    ask.process = process
    yield ask
    process.stdin.close()
    assert process.wait(10) == 0


def plan_of(server, tmp_path, paths, expected="chain-1 chain-2"):
    base = f"http://127.0.0.1:{server.server_address[1]}"
    rows = [
        PlannedRequest(index, 0, "gateway", base + path, f"c-{index}", expected) for index, path in enumerate(paths)
    ]
    write_rows(tmp_path / "plan.csv", rows)
    return tmp_path / "plan.csv"


def test_a_sequence_is_sent_in_order_one_in_flight_each_on_its_own_connection(server, driver, tmp_path):
    plan = plan_of(server, tmp_path, ["/?length=2"] * 6)
    answer = driver(mode="sequence", plan=plan, out=tmp_path / "out.csv")
    results = read_results(tmp_path / "out.csv")
    assert answer == {"out": str(tmp_path / "out.csv"), "offered": 6, "issued": 6, "completed": 6, "failed": 0}
    assert [result.index for result in results] == list(range(6))
    assert server.call_ids == [f"c-{index}" for index in range(6)]
    assert server.connections == 6
    for result in results:
        assert result.intended_ns <= result.started_ns < result.connected_ns < result.ended_ns
    for earlier, later in pairwise(results):
        assert later.started_ns > earlier.ended_ns


def test_errors_and_wrong_answers_are_failed_and_stay_in_the_results(server, driver, tmp_path):
    plan = plan_of(server, tmp_path, ["/?length=2", "/fails?length=2", "/wrong?length=2", "/?length=2"])
    with plan.open("a") as file:
        file.write("4,0,gateway,http://127.0.0.1:1/,c-4,chain-1,0\n")
    answer = driver(mode="sequence", plan=plan, out=tmp_path / "out.csv")
    results = read_results(tmp_path / "out.csv")
    assert (answer["issued"], answer["completed"], answer["failed"]) == (5, 2, 3)
    assert [result.status for result in results] == [200, 500, 200, 200, 0]
    assert [result.correct for result in results] == [True, True, False, True, False]
    assert results[4].error == "ConnectionRefusedError"


def test_one_process_answers_many_commands(server, driver, tmp_path):
    plan = plan_of(server, tmp_path, ["/?length=2"])
    for number in range(3):
        assert driver(mode="sequence", plan=plan, out=tmp_path / f"{number}.csv")["completed"] == 1
    assert driver.process.poll() is None


def test_an_open_loop_starts_requests_when_they_are_due(server, driver, tmp_path):
    plan = plan_of(server, tmp_path, ["/?length=2"])
    answer = driver(
        mode="open", plan=plan, out=tmp_path / "o.csv", arrivals="fixed", rate_per_s=40, duration_s=0.5, seed=1
    )
    results = sorted(read_results(tmp_path / "o.csv"), key=lambda result: result.index)
    assert answer["offered"] == answer["completed"] == 20
    gaps = {later.intended_ns - earlier.intended_ns for earlier, later in pairwise(results)}
    assert gaps == {25_000_000}
    assert all(result.started_ns >= result.intended_ns for result in results)
    reader = HistogramLogReader(answer["histogram"], HdrHistogram(1000, 60_000_000_000, 3))
    assert reader.get_next_interval_histogram().get_total_count() == 20
    assert "Tag=open," in Path(answer["histogram"]).read_text()


def test_closed_loop_users_share_the_plan_and_stop_at_the_deadline(server, driver, tmp_path):
    plan = plan_of(server, tmp_path, ["/?length=2", "/?length=2"])
    answer = driver(mode="closed", plan=plan, out=tmp_path / "c.csv", users=3, duration_s=0.3)
    results = read_results(tmp_path / "c.csv")
    assert answer["offered"] == answer["issued"] == len(results) > 3
    with (tmp_path / "c.csv").open() as file:
        assert {row["index"] for row in csv.DictReader(file)} == {"0", "1"}


def test_a_bad_command_is_answered_with_an_error_and_the_driver_lives_on(server, driver, tmp_path):
    plan = plan_of(server, tmp_path, ["/?length=2"])
    assert "none of sequence, open, closed" in driver(mode="sideways", plan=plan, out=tmp_path / "x.csv")["error"]
    assert "No such file" in driver(mode="sequence", plan=tmp_path / "none.csv", out=tmp_path / "x.csv")["error"]
    assert driver(mode="sequence", plan=plan, out=tmp_path / "x.csv")["completed"] == 1
