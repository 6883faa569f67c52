"""What a switch owes: in which order, how often, and at what cost."""

from __future__ import annotations

from controllers.switch.debts import FLUSH_AGAIN_S, FLUSHES_AT_ONCE, Debts
from controllers.switch.flushing import Flush


def flush(number: int, late: bool = False) -> Flush:
    return Flush(2, source=f"10.203.{number >> 8}.{number & 255}", late=late)


def always(_: Flush) -> bool:
    return True


def test_the_same_flush_asked_for_twice_before_it_was_sent_is_one() -> None:
    debts = Debts()
    for revision in range(1, 400):
        debts.add(flush(1), revision, 10.0)
    assert debts.has_first(1)
    assert debts.due(10.0, 9, always) == (flush(1),)
    assert debts.due(10.0, 9, always) == ()
    assert len(debts._line) == 0


def test_one_that_was_sent_begins_anew_when_it_is_asked_for_again() -> None:
    debts = Debts()
    debts.add(flush(1), 1, 10.0)
    debts.sent(debts.due(10.0, 9, always), 10.0)
    debts.add(flush(1), 2, 10.05)
    assert debts.has_first(2)
    assert debts.due(10.05, 9, always) == (flush(1),)


def test_one_that_became_needless_while_it_was_out_is_no_mistake() -> None:
    debts = Debts()
    debts.add(flush(1), 1, 10.0)
    out = debts.due(10.0, 9, always)
    debts.add(flush(1), 2, 10.0)
    assert debts.due(10.0, 9, lambda _: False) == ()
    debts.not_sent(out)
    assert len(debts) == 0


def test_one_that_is_asked_for_while_it_is_out_is_sent_again() -> None:
    debts = Debts()
    debts.add(flush(1), 1, 10.0)
    out = debts.due(10.0, 9, always)
    debts.add(flush(1), 2, 10.0)
    debts.sent(out, 10.0)
    assert debts.has_first(2)
    assert debts.due(10.0, 9, always) == (flush(1),)


def test_what_was_not_taken_is_due_still() -> None:
    debts = Debts()
    debts.add(flush(1), 1, 10.0)
    debts.not_sent(debts.due(10.0, 9, always))
    assert debts.has_first(1)
    assert debts.due(10.0, 9, always) == (flush(1),)


def test_each_comes_again_a_few_times_and_is_forgotten() -> None:
    debts, sent_s = Debts(), []
    debts.add(flush(1), 1, 0.0)
    while (next_s := debts.next_s(9)) is not None:
        debts.sent(debts.due(next_s, 9, always), next_s)
        sent_s.append(next_s)
    assert sent_s == [0.0, *FLUSH_AGAIN_S]
    assert len(debts) == 0


def test_a_late_one_waits_for_the_others_and_costs_nothing_meanwhile() -> None:
    debts = Debts()
    debts.add(flush(1, late=True), 5, 10.0)
    assert debts.due(10.0, 4, always) == ()
    assert debts.next_s(4) is None
    assert not debts.has_first(5)
    assert debts.next_s(5) == 10.0
    assert debts.due(10.0, 5, always) == (flush(1, late=True),)


def test_a_step_looks_at_what_it_takes_however_much_is_owed() -> None:
    debts, looked = Debts(), []
    for number in range(5000):
        debts.add(flush(number), 1, 10.0)

    def looking(one: Flush) -> bool:
        looked.append(one)
        return True

    assert len(debts.due(10.0, 9, looking)) == FLUSHES_AT_ONCE
    assert len(looked) == FLUSHES_AT_ONCE
