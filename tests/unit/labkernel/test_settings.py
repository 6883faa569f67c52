"""What a user may set, and what the guest sees of the host's environment."""

from pathlib import Path

import pytest

from testbed.labkernel import boot, settings
from testbed.model.checkout import CHECKOUT
from testbed.model.errors import UsageError


def test_the_defaults_are_debians_kernel_and_two_gibibytes() -> None:
    plain = settings.from_environ({})
    assert (plain.kernel, plain.kernel_arguments, plain.memory_mib, plain.core) == ("linux.uml", (), 2048, None)
    assert plain.cache == CHECKOUT / ".cache" / "labkernel"


def test_another_kernel_with_arguments_of_its_own() -> None:
    chosen = settings.from_environ({"TESTBED_UML": "/opt/linux", "TESTBED_UML_ARGS": "seccomp=on dyndbg='a b'"})
    assert (chosen.kernel, chosen.kernel_arguments) == ("/opt/linux", ("seccomp=on", "dyndbg=a b"))


@pytest.mark.parametrize(("value", "sentence"), [("2G", "must be a number, not '2G'"), ("-1", "must not be negative")])
def test_a_value_that_is_no_number_is_named(value: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=f"TESTBED_UML_MEMORY_MIB {sentence}"):
        settings.from_environ({"TESTBED_UML_MEMORY_MIB": value})


def test_only_what_a_command_may_need_is_passed_on() -> None:
    host = {"TERM": "xterm", "TESTBED_SEED": "1", "LC_ALL": "C", "HOME": "/root", "AWS_SECRET": "x", "PATH": "/bin"}
    assert settings.passed_environment(host) == {"TERM": "xterm", "TESTBED_SEED": "1", "LC_ALL": "C"}


def test_inside_a_guest_no_guest_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.INSIDE, "1")
    with pytest.raises(UsageError, match="guest already"):
        boot.run(["true"])


@pytest.mark.parametrize("folder", ["/run/x", "/dev/shm", "/proc", "/var/log"])
def test_a_folder_the_guest_does_not_share_is_refused(folder: str) -> None:
    with pytest.raises(UsageError, match="does not see"):
        boot.refuse_hidden(Path(folder))
