"""Faults for a running lab: given, taken back, and measured by what fails meanwhile and when it has recovered.

The table of what must hold under each fault is tests/faults.toml.

Open `faults` first.

    faults     which faults there are, and what must hold
    injection  gives one, takes it back, watches the recovery
    load       a probe, an overload and a flood beside a fault
"""
