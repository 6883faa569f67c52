"""Choosing the source and the modules, pure; refusing to build."""

from dataclasses import replace
from pathlib import Path

import pytest

from testbed.labkernel import build, debian, host, modules, selfcheck, settings
from testbed.model.errors import EnvironmentProblem

DEPENDENCIES = {
    "kernel/net/netfilter/nf_conntrack.ko": ["kernel/net/ipv4/netfilter/nf_defrag_ipv4.ko"],
    "kernel/net/ipv4/netfilter/nf_defrag_ipv4.ko": [],
    "kernel/net/netfilter/xt_connmark.ko": ["kernel/net/netfilter/nf_conntrack.ko"],
    "kernel/net/sched/sch_netem.ko": [],
    "kernel/net/sched/cls_flow.ko": [],
    "kernel/drivers/net/ppp.ko": ["kernel/lib/crc-ccitt.ko"],
    "kernel/lib/crc-ccitt.ko": [],
    "kernel/fs/xfs.ko": [],
}


def test_exactly_the_version_the_kernel_was_built_from_is_chosen() -> None:
    offered = ["6.1.192-2", "6.1.176-2", "6.1.176-1", "6.1.170-3"]
    assert debian.choose_source(offered, "6.1.176", "6.1.176-2") == "6.1.176-2"
    assert debian.choose_source(offered, "6.1.176", None) == "6.1.176-1"
    assert debian.choose_source(offered, "6.1.176", "6.1.175-1") == "6.1.176-1"
    assert debian.choose_source(offered, "6.1.17", None) is None


def test_network_modules_and_what_they_need_are_kept_and_readers_of_the_old_struct_are_not() -> None:
    assert modules.chosen(DEPENDENCIES) == [
        "kernel/drivers/net/ppp.ko",
        "kernel/lib/crc-ccitt.ko",
        "kernel/net/sched/sch_netem.ko",
    ]


def test_modules_dep_is_read_with_and_without_needs() -> None:
    assert modules.parse_dependencies("a.ko: b.ko c.ko\nb.ko:\n") == {"a.ko": ["b.ko", "c.ko"], "b.ko": []}


def test_a_full_disk_names_what_is_needed_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"needs 1000000\.0 GB in .* TESTBED_LABKERNEL_CACHE"):
        debian.require_disk(tmp_path, 1e6)


def test_a_system_without_apt_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match="this system has no apt-get"):
        debian.require("bison", when=True, say=print)


def test_an_ordinary_user_is_told_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "found", lambda program: True)
    monkeypatch.setattr(debian, "installed_version", lambda package: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(EnvironmentProblem, match=r"sudo apt-get install .* bison flex"):
        debian.require("bison", "flex", when=True, say=print)


def test_a_source_that_is_not_offered_names_both_versions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(debian, "candidates", lambda package: ["6.1.192-2"])
    monkeypatch.setattr(debian, "installed_version", lambda package: None)
    monkeypatch.setattr(debian, "built_using", lambda: "6.1.176-1")
    with pytest.raises(
        EnvironmentProblem, match=r"Linux 6\.1\.176, and linux-source-6\.1 is offered only as 6\.1\.192-2"
    ):
        debian.source_archive("6.1.176", tmp_path, print)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(EnvironmentProblem, match="TESTBED_LABKERNEL_CACHE"),
        build.only_one(tmp_path / "file" / "cache"),
    ):
        pytest.fail("a lock was made in a file")


def test_what_a_killed_build_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "build-x" / "tree").mkdir(parents=True)
    (tmp_path / "6.1.5").mkdir()
    with build.only_one(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["6.1.5", "lock"]


def test_proved_modules_are_not_built_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "kernel"
    program.write_text("#!/bin/sh\necho 6.1.5\n")
    program.chmod(0o755)
    monkeypatch.setattr(build, "make", lambda *_: pytest.fail("built again"))
    chosen = replace(settings.from_environ({}), kernel=str(program), cache=tmp_path)
    folder = host.built_modules(chosen, "6.1.5")
    folder.mkdir(parents=True)
    (folder.parent / "verified").touch()
    assert build.build(chosen) == folder
    assert "ready" in capsys.readouterr().out


FEATURES = "\n".join(f"{name}: Yes" for name in selfcheck.NEEDED)


def test_a_datapath_with_zones_is_accepted() -> None:
    assert selfcheck.missing_features(FEATURES) == []


@pytest.mark.parametrize(
    "report", [FEATURES.replace("CT zone: Yes", "CT zone: No"), FEATURES.replace("CT zone: Yes", "")]
)
def test_a_datapath_that_does_not_affirm_zones_is_refused(report: str) -> None:
    assert selfcheck.missing_features(report) == ["CT zone"]


@pytest.mark.parametrize(
    ("cache", "place"),
    [("/home/me/cache", "/home/me/cache"), ("/home/some body/cache", "/var/tmp"), ("/srv/a:b", "/var/tmp")],
)
def test_the_kernel_is_not_compiled_where_its_makefile_refuses(cache: str, place: str) -> None:
    assert build.workplace(Path(cache)) == Path(place)
