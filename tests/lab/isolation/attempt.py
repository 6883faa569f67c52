"""An attempt: what is tried, in words and as orders to an attacker's tools, and how success is known. No effects."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.isolation.scene import Scene

Order = tuple[str, ...]
"""A tool of the attackers' and its arguments."""

REFUSALS = {"EPERM", "EACCES", "EROFS"}
ABSENT = {"ENOSYS", "EPROTONOSUPPORT", "EAFNOSUPPORT", "ESOCKTNOSUPPORT"}
"""What was asked for is not there for anybody on this kernel."""


@dataclass(frozen=True)
class Answer:
    """What an attacker says of one order: `ok` None when it did not answer at all."""

    ok: bool | None
    said: str

    @classmethod
    def parse(cls, text: str) -> Answer:
        """From "yes" or "no" on the first line and what was seen on the others."""
        word, _, said = text.partition("\n")
        if word not in ("yes", "no"):
            return cls(None, text.strip() or "no answer")
        return cls(word == "yes", said.strip())


Judgement = Callable[["Scene", Answer], bool]


def says_so(scene: Scene, answer: Answer) -> bool:
    """The attacker has done it."""
    return answer.ok is True


def permitted(scene: Scene, answer: Answer) -> bool:
    """The kernel asked for rights first, and found them: it has done it, or refused for another reason."""
    return answer.ok is True or (answer.ok is False and answer.said.isupper() and answer.said not in REFUSALS | ABSENT)


def not_found(scene: Scene, answer: Answer) -> bool:
    """What a kept-in-place function would read there is not what stands there."""
    return answer.ok is False and answer.said == "ENODATA"


def nothing(scene: Scene) -> None:
    """Nothing is to be put right."""


@dataclass(frozen=True)
class Attempt:
    """`orders`: tried one after another until one succeeds; none where this machine has nothing of the kind.

    `tidy` puts right what success has changed. `alone`: judged by what can be seen outside, so that only one attacker
    may be at it. `heavy`: others' calls must be answered all the while.
    """

    name: str
    orders: Callable[[Scene], Iterable[Order]]
    succeeded: Judgement = says_so
    tidy: Callable[[Scene], object] = nothing
    alone: bool = False
    heavy: bool = False
    programs: tuple[str, ...] = ("Python", "C")


def always(*order: object) -> Callable[[Scene], Iterable[Order]]:
    """The same order wherever the lab is."""
    words = tuple(map(str, order))
    return lambda scene: (words,)


def simple(name: str, *order: object, succeeded: Judgement = says_so) -> Attempt:
    """An attempt that needs to know nothing of the lab."""
    return Attempt(name, always(*order), succeeded)


def hidden(word: str | bytes) -> str:
    """A word that is looked for, so that it does not stand in the attacker's own arguments."""
    return (word.encode() if isinstance(word, str) else word).hex()
