"""Authorises the card of a purchase, when it is the user's."""

import random

from .common.keyvalue import Table
from .common.wire import Failed, answering, read

LARGEST_INTEGER = 2**53 - 1
"""The largest that every reader of JSON takes for what it is."""


@answering
def handle(event):
    purchase = read(event)
    with Table("creditCardAuthority") as cards:
        known = cards.get(str(purchase.get("user")))
    if known is None:
        raise Failed("the user has no credit card")
    if known["creditCard"] != purchase.get("creditCard"):
        return {**purchase, "approved": False}
    return {**purchase, "approved": True, "authorization": random.randint(0, LARGEST_INTEGER)}
