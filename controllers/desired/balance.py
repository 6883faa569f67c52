"""How many of a select group's slots each of a function's instances gets. Pure; builds no buckets.

OVS (dp_hash) hashes a connection to one of n slots and deals the slots out to buckets by weight. n is the least
power of two, from 16 to 256, that is not below the sum of the weights over the smallest weight: equal weights of
five buckets get 16 slots, so 4, 3, 3, 3 and 3 of them. Weights of which one is 1, and whose sum is a power of two,
ask for just so many slots and get as many each as they say.
"""

from __future__ import annotations

from collections.abc import Iterator

FEWEST_SLOTS, MOST_SLOTS = 16, 256
UNEVEN = 0.04
"""By what part of an even share an instance's may differ. A switch's datapath caches each slot on its own, so finer is
not better: more first packets of connections would have to ask vswitchd."""


def slots(instances: int) -> int:
    """The least number of slots that deals evenly enough, or the most there can be."""
    number = FEWEST_SLOTS
    while number < MOST_SLOTS and not _is_even(number, instances):
        number *= 2
    return number


def _is_even(number: int, instances: int) -> bool:
    even, least = number / instances, number // instances
    most = least + (number % instances > 0)
    return max(even - least, most - even) <= UNEVEN * even


def weights(instances: int) -> Iterator[tuple[int, int]]:
    """(index of an instance, weight of a bucket for it), in the order of the buckets.

    Where the slots cannot be dealt equally, the first instances get a second bucket, for one slot more.
    """
    each, left = divmod(slots(instances), instances)
    for index in range(instances):
        yield index, max(1, each)
    if each:
        yield from ((index, 1) for index in range(left))
