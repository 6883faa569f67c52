"""Choosing what a guest gets; refusing with a sentence."""

from dataclasses import replace
from pathlib import Path

import pytest

from testbed.labkernel import guest, host, settings
from testbed.model.errors import EnvironmentProblem

PLAIN = settings.from_environ({})


def kernel(folder: Path, answer: str) -> settings.Settings:
    """Settings whose kernel is a program that answers so to --version."""
    program = folder / "kernel"
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)
    return replace(PLAIN, kernel=str(program), cache=folder / "cache")


def test_a_missing_kernel_names_the_package_and_the_command() -> None:
    with pytest.raises(EnvironmentProblem, match=r"package user-mode-linux.*make lab-kernel"):
        host.kernel_binary(replace(PLAIN, kernel="no-such-kernel"))


def test_a_program_that_is_no_kernel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="no User-Mode Linux kernel"):
        host.modules_folder(kernel(tmp_path, "ls (GNU coreutils) 9.1"))


def test_missing_modules_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"modules for Linux 6\.1\.5 are not in .*make lab-kernel"):
        host.modules_folder(kernel(tmp_path, "6.1.5"))


def test_modules_count_as_proved_only_when_a_guest_has_said_so(tmp_path: Path) -> None:
    chosen = kernel(tmp_path, "6.1.5")
    folder = host.built_modules(chosen, "6.1.5")
    (folder / "6.1.5").mkdir(parents=True)
    (folder / "6.1.5" / "modules.dep").touch()
    assert host.modules_folder(chosen) == folder
    assert not host.proved(folder)
    (folder.parent / "verified").touch()
    assert host.proved(folder)


def test_too_little_room_for_the_memory_names_the_folders_and_the_settings() -> None:
    with pytest.raises(EnvironmentProblem, match=r"/dev/shm.*TESTBED_UML_RAM or TESTBED_UML_MEMORY_MIB"):
        host.memory_folder(replace(PLAIN, memory_mib=1 << 40))


@pytest.mark.parametrize(("used", "core"), [([], 3), ([3, 3, 1], 2), ([1, 2, 3], 3), ([1, 1, 2, 2, 3], 3)])
def test_the_core_with_the_fewest_guests_is_taken(used: list[int], core: int) -> None:
    assert host.least_used([1, 2, 3], used) == core


def test_the_log_goes_where_this_user_may_write(tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.touch()
    with host.open_log(replace(PLAIN, log=tmp_path / "x" / "kernel.log")) as chosen:
        assert chosen.name == str(tmp_path / "x" / "kernel.log")
    with host.open_log(replace(PLAIN, cache=tmp_path)) as cached:
        assert Path(str(cached.name)).parent == tmp_path / "logs"


def test_paths_with_a_space_are_quoted_for_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "__file__", "/a b/guest.py")
    ends = {"log": 5, "out": 6, "err": 7, "control": 8}
    words = guest.kernel_command(replace(kernel(tmp_path, "6.1.5"), kernel_arguments=("seccomp=on",)), ends)
    assert words[-4:] == ["--", "-I", "-S", '"/a b/init.py"']
    assert {"mem=2048M", "con0=fd:5", "con1=fd:6", "con2=fd:7", "con3=fd:8", "seccomp=on"} <= set(words)
