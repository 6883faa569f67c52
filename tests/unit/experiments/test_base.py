"""Experiments are found by name and carried out in order, whatever they measure."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from rich.console import Console

from experiments import base, manifest
from experiments.base import Experiment, Options, Outcome, Profile
from experiments.progress import Steps
from testbed.measure.fidelity import Verdict
from testbed.model.errors import InvalidResult, LabError, UsageError


class Fake(Experiment):
    """Notes what is done to it."""

    name, title, minutes = "fake", "A fake", {}

    def __init__(self, verdict=Verdict.PASS, failure=None):
        self.done, self.verdict, self.failure = [], verdict, failure

    def configure(self, options):
        return {"seed": options.seed}

    @contextmanager
    def prepare(self, config, run, console):
        self.done.append("prepare")
        try:
            yield "session"
        finally:
            self.done.append("clean up")

    def run(self, session):
        self.done.append(f"run in {session}")
        if self.failure:
            raise self.failure

    def process(self, run):
        self.done.append("process")
        return Outcome(run.path, self.verdict, "because")

    def present(self, run, console):
        self.done.append("present")


@pytest.fixture
def fake(monkeypatch):
    def use(experiment):
        monkeypatch.setitem(base.MODULES, "fake", "experiments.fake")
        monkeypatch.setattr(base.importlib, "import_module", lambda name: SimpleNamespace(EXPERIMENT=experiment))
        monkeypatch.setattr(manifest, "collect", lambda command_line, seed: {"seed": seed})
        # It needs root, and that no lab of the experiment's name is running.
        monkeypatch.setattr(base, "check_startable", lambda name, datapath: "userspace")
        return experiment

    return use


def carry_out(tmp_path):
    return base.run("fake", Options(seed=5), tmp_path, ["testbed"], Console(quiet=True))


def only_run(tmp_path):
    (path,) = tmp_path.iterdir()
    return base.RunFolder(path)


def test_an_experiment_is_prepared_run_processed_and_presented(fake, tmp_path):
    experiment = fake(Fake())
    outcome = carry_out(tmp_path)
    assert experiment.done == ["prepare", "run in session", "clean up", "process", "present"]
    assert outcome.verdict is Verdict.PASS
    assert only_run(tmp_path).manifest()["status"] == "complete"


def test_a_failed_run_is_cleaned_up_and_marked_and_never_processed(fake, tmp_path):
    experiment = fake(Fake(failure=LabError("the lab fell over")))
    with pytest.raises(LabError):
        carry_out(tmp_path)
    assert experiment.done == ["prepare", "run in session", "clean up"]
    assert only_run(tmp_path).manifest()["status"] == "failed"
    assert only_run(tmp_path).manifest()["reason"] == "the lab fell over"


def test_an_invalid_result_is_shown_first_and_then_refused(fake, tmp_path):
    experiment = fake(Fake(Verdict.INVALID))
    with pytest.raises(InvalidResult, match=r"verdict INVALID: because; see .*report\.html"):
        carry_out(tmp_path)
    assert experiment.done[-1] == "present"
    assert only_run(tmp_path).manifest()["status"] == "complete"


def test_a_report_needs_no_preparation(fake, tmp_path):
    experiment = fake(Fake())
    outcome = carry_out(tmp_path)
    experiment.done.clear()
    base.report(outcome.folder, Console(quiet=True))
    assert experiment.done == ["process", "present"]


def test_unknown_experiments_are_refused_with_those_that_exist():
    with pytest.raises(UsageError, match=r"there is no experiment 'chane'; there is: .*chain-length"):
        base.get("chane")


def test_every_listed_experiment_can_be_loaded_and_configured():
    for name in base.names():
        experiment = base.get(name)
        assert experiment.name == name
        assert set(experiment.minutes) == set(Profile)
        assert experiment.configure(Options()) == experiment.configure(Options())


def test_the_manifest_says_where_and_with_what():
    found = manifest.collect(["testbed", "experiment"], seed=4)
    assert found["machine"]["cpus"] >= 1
    assert any(package.startswith("numpy==") for package in found["packages"])
    assert (found["seed"], found["command_line"]) == (4, ["testbed", "experiment"])


def test_a_missing_tool_is_no_failure(monkeypatch):
    monkeypatch.setattr(manifest, "TOOLS", {"nothing": ("/no/such/tool", "--version")})
    assert manifest.collect([], seed=1)["versions"] == {"nothing": "not found"}


def test_without_a_terminal_progress_is_a_line_every_ten_seconds(tmp_path):
    now = [0.0]
    with (
        (tmp_path / "log").open("w") as file,
        Steps(Console(file=file, width=80), total=100, clock=lambda: now[0]) as steps,
    ):
        for step in range(10):
            now[0] += 4
            steps.advance(10, f"step {step}")
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == [" 30%  step 2  about 28 s left", " 60%  step 5  about 16 s left", " 90%  step 8  about 4 s left"]


def test_the_time_remaining_follows_the_weight_of_what_is_done():
    now = [0.0]
    steps = Steps(Console(quiet=True), total=1000, clock=lambda: now[0])
    assert steps.remaining() == ""
    now[0] = 60.0
    steps.advance(100, "a tenth")
    assert steps.remaining() == "about 9 min left"
