"""Which command lines go to the lab kernel."""

import pytest

from testbed.labkernel import cli
from testbed.model.errors import UsageError


@pytest.mark.parametrize("line", ["--lab-kernel experiment --seed 3", "experiment --lab-kernel --seed 3"])
def test_the_option_may_stand_before_or_after_the_verb(line: str) -> None:
    assert cli.split(line.split()) == (True, ["experiment", "--seed", "3"])


def test_a_command_line_without_the_option_stays_as_it_is() -> None:
    assert cli.split(["experiment", "--seed", "3"]) == (False, ["experiment", "--seed", "3"])


def test_words_behind_two_dashes_are_another_commands() -> None:
    line = ["exec", "client", "--", "tool", "--lab-kernel"]
    assert cli.split(line) == (False, line)


@pytest.mark.parametrize("verb", cli.BATCH_VERBS)
def test_batch_verbs_are_not_refused(verb: str) -> None:
    assert cli.refusal([verb]) is None


@pytest.mark.parametrize(
    "verb", ["up", "down", "status", "deploy", "shell", "capture", "link", "invoke", "logs", "flows"]
)
def test_verbs_about_a_lab_that_stays_are_refused_by_name(verb: str) -> None:
    sentence = cli.refusal(["--help", verb])
    assert sentence is not None
    assert sentence.startswith(f"'{verb}' needs a native lab")


def test_a_refused_verb_boots_nothing() -> None:
    with pytest.raises(UsageError, match="'up' needs a native lab"):
        cli.run(["up"])


def test_help_without_a_verb_is_not_refused() -> None:
    assert cli.refusal(["--help"]) is None
