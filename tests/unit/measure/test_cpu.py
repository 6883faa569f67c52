"""CPU time is attributed to idle, stolen, own and competing."""

import os
import re

import pytest

from testbed.measure.cpu import CpuMeter, CpuSample, CpuTimes, parse_machine, parse_process, shares

STAT = "cpu  100 20 50 700 30 5 15 10 0 0\ncpu0 1 1 1 1\n"
PROCESS = "4242 (a (strange) name) S 17 4242 4242 0 -1 4194304 1 2 3 4 500 250 30 20 20 0 1 0 9 9 9\n"


def test_the_machines_times_are_read_by_column():
    assert parse_machine(STAT, 100) == CpuTimes(user_s=1.2, system_s=0.5, idle_s=7.3, interrupt_s=0.2, steal_s=0.1)


def test_a_processs_name_may_hold_brackets_and_blanks():
    process = parse_process(PROCESS, 100)
    assert (process.pid, process.parent, process.own_s, process.children_s) == (4242, 17, 7.5, 0.5)


def test_what_others_used_is_the_rest_of_ordinary_time():
    before = CpuSample(CpuTimes(0, 0, 0, 0, 0), 0.0)
    after = CpuSample(CpuTimes(user_s=5, system_s=1, idle_s=3, interrupt_s=0.5, steal_s=0.5), 2.0)
    found = shares(before, after)
    assert (found.idle, found.steal, found.own) == (0.3, 0.5 / 7, 0.2)  # 0.5 s of the 7 s that were wanted
    assert found.competing == pytest.approx(0.4)


def test_competing_is_never_negative_though_ticks_are_coarse():
    before = CpuSample(CpuTimes(0, 0, 0, 0, 0), 0.0)
    assert shares(before, CpuSample(CpuTimes(0.99, 0, 9, 0, 0), 1.0)).competing == 0.0


def test_two_samples_of_one_moment_are_refused():
    sample = CpuSample(CpuTimes(1, 1, 1, 0, 0), 0.0)
    with pytest.raises(ValueError, match="same moment"):
        shares(sample, sample)


def proc_folder(root, pid, namespace, parent, ticks):
    folder = root / str(pid)
    (folder / "ns").mkdir(parents=True)
    (folder / "ns" / "pid").symlink_to(namespace)
    own, children = ticks
    fields = re.sub(r"500 250 30 20", f"{own} 0 {children} 0", PROCESS).replace("4242 (", f"{pid} (", 1)
    (folder / "stat").write_text(fields.replace("S 17", f"S {parent}"))


def test_own_are_the_labs_namespace_this_program_and_kernel_threads(tmp_path):
    (tmp_path / "stat").write_text(STAT)
    tick = os.sysconf("SC_CLK_TCK")
    proc_folder(tmp_path, 1, "pid:[1]", 0, (50 * tick, 0))
    proc_folder(tmp_path, 900, "pid:[7]", 1, (1 * tick, 2 * tick))  # the lab's init, with what it reaped
    proc_folder(tmp_path, 901, "pid:[7]", 900, (4 * tick, 0))
    proc_folder(tmp_path, 902, "pid:[8]", 901, (64 * tick, 0))  # the first process of a place
    proc_folder(tmp_path, 903, "pid:[8]", 902, (128 * tick, 0))
    proc_folder(tmp_path, 910, "pid:[9]", 1, (256 * tick, 0))  # somebody else's container
    proc_folder(tmp_path, 30, "pid:[1]", 2, (8 * tick, 0))  # a kernel thread
    proc_folder(tmp_path, os.getpid(), "pid:[1]", 1, (16 * tick, 99 * tick))
    proc_folder(tmp_path, 777, "pid:[1]", os.getpid(), (32 * tick, 0))  # a hog, though this program started it
    assert CpuMeter(900, proc=tmp_path).sample().own_s == 1 + 2 + 4 + 8 + 16 + 64 + 128


def test_it_reads_the_real_proc():
    sample = CpuMeter(os.getpid()).sample()
    assert 0 < sample.own_s < sample.machine.total_s
