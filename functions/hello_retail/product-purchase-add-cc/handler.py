"""Registers a user's credit card. For the operator of the shop; no part of a purchase."""

from .common.keyvalue import Table
from .common.wire import Failed, answering, read


@answering
def handle(event):
    card = read(event)
    if not isinstance(card.get("user"), str) or not isinstance(card.get("creditCard"), str):
        raise Failed("a card needs a user and a creditCard")
    with Table("creditCardAuthority") as cards:
        cards.put(card["user"], {"creditCard": card["creditCard"]})
