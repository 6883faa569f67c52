"""Known effects are found in raw data, effects that are not there are not, and what is wrong is called INVALID."""

import csv
from dataclasses import replace

import pytest
from rich.console import Console

from experiments import base, chain_plan, chain_results
from experiments.analysis.statistics import Equivalence
from experiments.base import Options
from experiments.chain_length import EXPERIMENT
from experiments.report import chain_summary, terminal
from testbed.measure.fidelity import Verdict
from testbed.model.errors import InvalidResult
from tests.unit.experiments.synthetic import Effects, summary_of, write_run

SHORT = Options(lengths=(1, 2, 3), delays_ms=(0.0, 0.5), upstreams=("pooled",), repetitions=24)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A processed run in which nothing is wrong."""
    run = write_run(tmp_path_factory.mktemp("runs"))
    return run, EXPERIMENT.process(run)


def processed(tmp_path, effects, options=SHORT):
    run = write_run(tmp_path, options, effects)
    return run, EXPERIMENT.process(run)


def analysed(tmp_path, effects, options=SHORT):
    """Without figures and report: quicker."""
    run = write_run(tmp_path, options, effects)
    return chain_results.analyse(chain_plan.resolve(options), chain_results.read(run.raw))


def test_a_run_in_which_nothing_is_wrong_passes(clean):
    run, outcome = clean
    assert outcome.verdict is Verdict.PASS, summary_of(run)["reasons"]
    assert outcome.sentence == "every check holds"


def test_savings_are_found_with_their_intervals(clean):
    run, _ = clean
    for row in summary_of(run)["rows"]:
        per_hop = 0.6 + (0.4 if row["gateway_upstream"] == "per-call" else 0.0)
        truth = row["model_ms"] + per_hop * row["removed_hops"]
        assert abs(row["saved_ms"] - truth) < 0.15
        assert row["ci_low_ms"] <= row["saved_ms"] <= row["ci_high_ms"]
        assert row["saved_ms"] == pytest.approx(row["gateway_p50_ms"] - row["direct_p50_ms"], abs=0.2)
        assert row["saved_pct"] == pytest.approx(100 * (1 - row["ratio"]), abs=0.05)


def test_the_model_uses_calibrated_and_not_configured_round_trips(clean):
    run, _ = clean
    row = next(row for row in summary_of(run)["rows"]
               if (row["length"], row["delay_ms"], row["gateway_upstream"]) == (6, 0.5, "pooled"))  # fmt: skip
    assert row["model_ms"] == pytest.approx(5 * 3 * 1.2, abs=0.1)  # 2d = 1 ms configured, 1.2 ms calibrated


def test_the_saving_is_split_into_what_was_put_in(clean):
    run, _ = clean
    for part in summary_of(run)["parts"]:
        assert part["gateway_ms"] == pytest.approx(0.6, abs=0.1)
        assert part["setup_ms"] == pytest.approx(0.4 if part["gateway_upstream"] == "per-call" else 0.0, abs=0.1)
        assert part["rest_ms"] == pytest.approx(0.0, abs=0.1)
    for row in summary_of(run)["slopes"]:
        assert row["ci_low_ms"] <= row["saved_ms_per_hop"] <= row["ci_high_ms"]
        assert row["r_squared"] > 0.99


def test_both_controls_are_equivalent(clean):
    run, _ = clean
    controls = summary_of(run)["controls"]
    assert {row["control"] for row in controls} == {"A/A", "length 1"}
    assert {row["answer"] for row in controls} == {"equivalent"}


def test_the_run_directory_is_complete(clean):
    run, _ = clean
    for name in ("manifest.json", "config.yaml", "raw/requests.csv", "calibration.json", "fidelity.json", "summary.csv",
                 "summary.json", "report.html", "hdr/gateway.hlog", "hdr/direct.hlog", "hdr/control.hlog",
                 "figures/figure-9c-delay-0ms.png", "figures/figure-9d-delay-0.5ms.svg"):  # fmt: skip
        assert (run.path / name).stat().st_size > 0
    with (run.path / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:15] == [
        "length", "delay_ms", "delay_meaning", "placement", "connection", "gateway_upstream", "gateway_p50_ms",
        "direct_p50_ms", "saved_ms", "saved_pct", "ci_low_ms", "ci_high_ms", "model_ms", "blocks", "verdict",
    ]  # fmt: skip
    assert len(rows) == 4 * 2 * 2
    assert {row["verdict"] for row in rows} == {"PASS"}


def test_the_report_stands_alone_and_escapes_what_it_quotes(clean):
    run, _ = clean
    html = (run.path / "report.html").read_text()
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "https://" not in html
    assert 'src="data:image/svg+xml;base64,' in html
    assert "a &lt;CPU&gt;" in html
    assert "up to about 24 ms" in html
    assert html.index("Verdict") < html.index("<h2>")


def test_reporting_again_from_raw_gives_the_same_summary(clean, tmp_path):
    run, _ = clean
    before = (run.path / "summary.json").read_text()
    for name in ("summary.json", "summary.csv", "report.html", "fidelity.json"):
        (run.path / name).unlink()
    base.report(run.path, Console(file=(tmp_path / "out").open("w")))
    assert (run.path / "summary.json").read_text() == before
    assert "May be concluded from this machine" in " ".join((tmp_path / "out").read_text().split())


def test_a_planted_millisecond_on_the_direct_route_is_found(tmp_path):
    analysis = analysed(tmp_path, Effects(direct_extra_ms=1.0))
    control = next(control for control in analysis.controls if control.kind == "length 1")
    assert control.interval.contains(-1.0)
    assert control.answer is Equivalence.DIFFERENT
    assert analysis.verdict is Verdict.DEGRADED
    assert analysis.phases[0].slope.intercept_ms == pytest.approx(-1.0, abs=0.15)


def test_two_deployments_by_gateway_that_differ_fail_the_control(tmp_path):
    analysis = analysed(tmp_path, Effects(control_extra_ms=2.0))
    answers = {control.kind: control.answer for control in analysis.controls}
    assert answers == {"A/A": Equivalence.DIFFERENT, "length 1": Equivalence.EQUIVALENT}


def test_a_saving_may_be_negative(tmp_path):
    analysis = analysed(tmp_path, Effects(direct_extra_ms=30.0))
    assert all(result.comparison.p50.interval.high < 0 for result in analysis.cells)
    assert analysis.verdict is not Verdict.INVALID


@pytest.mark.parametrize(
    ("effects", "check", "verdict"),
    [
        (Effects(read_back_extra_ms=1.0), "links", Verdict.INVALID),
        (Effects(trunk_extra_ms=2.0), "trunk round trip", Verdict.INVALID),
        (Effects(trunk_extra_ms=2.0, competing=0.5), "trunk round trip", Verdict.DEGRADED),
        (Effects(trunk_extra_ms=2.0, read_back_extra_ms=1.0, competing=0.5), "links", Verdict.INVALID),
        (Effects(miscounted=1), "connection oracle", Verdict.INVALID),
        (Effects(late=1), "connection oracle", Verdict.INVALID),
        (Effects(digest="another"), "flow digest", Verdict.INVALID),
        (Effects(cold=1), "cold starts", Verdict.INVALID),
        (Effects(failed=6), "failed requests", Verdict.INVALID),
        (Effects(competing=0.5), "competing CPU", Verdict.DEGRADED),
    ],
)
def test_each_thing_that_is_wrong_shows_in_the_verdict(tmp_path, effects, check, verdict):
    analysis = analysed(tmp_path, effects)
    assert analysis.verdict is verdict
    assert check in {finding.check for finding in analysis.findings}


KEPT = replace(SHORT, connection="keepalive")


@pytest.mark.parametrize("kept", [0, 2, 26])
def test_kept_connections_may_be_any_number_up_to_that_of_calls(tmp_path, kept):
    analysis = analysed(tmp_path, Effects(kept=kept), KEPT)
    assert analysis.verdict is Verdict.PASS, analysis.findings
    assert all(pair.holds for result in analysis.cells for pair in result.connections)


@pytest.mark.parametrize(
    ("effects", "sentence"),
    [
        (Effects(kept=1000), "1000 connections where the oracle says at most "),
        (Effects(miscounted=1), "client → gateway: "),
        (Effects(late=1), "client → gateway: 1 connections where the oracle says 0"),
    ],
    ids=["more than calls", "the client's are still exact", "none when nobody calls"],
)
def test_more_connections_than_calls_are_against_the_oracle_still(tmp_path, effects, sentence):
    analysis = analysed(tmp_path, effects, KEPT)
    assert analysis.verdict is Verdict.INVALID
    assert any(sentence in finding.sentence for finding in analysis.findings if finding.check == "connection oracle")


def test_what_switches_see_of_calls_stands_beside_the_functions_own_records(tmp_path):
    per_call, kept = analysed(tmp_path / "a", Effects()).seen, analysed(tmp_path / "b", Effects(kept=1), KEPT).seen
    assert per_call.connections == per_call.calls == kept.calls > 0
    assert 0 < kept.connections < kept.calls / 10


def test_a_run_with_kept_connections_says_what_it_cannot_conclude(tmp_path):
    run, outcome = processed(tmp_path, Effects(kept=1), KEPT)
    summary = summary_of(run)
    assert outcome.verdict is Verdict.PASS
    assert summary["connections_hold"]
    assert not summary["connections_exact"]
    assert {row["connection"] for row in summary["rows"]} == {"keepalive"}
    assert "that no function opens more connections than it makes calls" in summary["concluded"]
    assert any("callers keep their connections" in claim for claim in summary["not_concluded"])
    assert "counters of switches understate calls" in (run.path / "report.html").read_text()
    line = terminal.connections_line(summary)
    assert f"of {summary['calls_seen']['calls']} calls between functions they saw" in line


def test_invalid_numbers_are_not_drawn_and_the_run_is_refused(tmp_path):
    run, _ = processed(tmp_path, Effects(read_back_extra_ms=1.0))
    assert all(row["saved_ms"] is None and row["verdict"] == "INVALID" for row in summary_of(run)["rows"])
    with pytest.raises(InvalidResult, match="trunk 1-2 reads back"):
        base.report(run.path, Console(file=(tmp_path / "out").open("w")))


def test_on_a_busy_machine_tails_are_not_concluded(tmp_path):
    claims = chain_summary.not_concluded(chain_plan.resolve(SHORT), analysed(tmp_path, Effects(competing=0.5)))
    assert any(claim.startswith("tails") for claim in claims)


def test_functions_spread_over_workers_follow_their_own_model(tmp_path):
    options = replace(SHORT, placements=("spread",), delays_ms=(0.5,))
    analysis = analysed(tmp_path, Effects(), options)
    models = {result.cell.length: result.model_ms for result in analysis.cells}
    assert models[3] == pytest.approx(2 * 1.2, abs=0.1)  # three trips saved and two spent: one a call
    assert analysis.verdict is Verdict.PASS
