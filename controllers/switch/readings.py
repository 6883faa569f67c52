"""What one switch holds and has counted, as it was read: values for whoever asks. Asks nothing itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controllers.rows import Group, Meter, Tables
from controllers.switch.decoding import Entry


@dataclass(frozen=True)
class Contents:
    """The rows with their counters, the groups and the meters."""

    entries: Sequence[Entry]
    groups: Sequence[Group]
    meters: Sequence[Meter] = ()

    @property
    def last_round(self) -> int:
        """The highest round among the rows' cookies."""
        return max((entry.round for entry in self.entries), default=0)

    def tables(self) -> Tables:
        """The same without counters, for the asker alone to change."""
        return Tables.of((entry.row for entry in self.entries), self.groups, self.meters)


@dataclass(frozen=True)
class Readings:
    """One switch's rows and groups, the packets of each group's buckets, and each meter's (asked, dropped)."""

    entries: Sequence[Entry]
    groups: Sequence[Group]
    bucket_packets: Mapping[int, Sequence[int]]
    meter_packets: Mapping[int, tuple[int, int]] = field(default_factory=dict)
