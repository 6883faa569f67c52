"""Adds the price of a product to a purchase."""

from .common.keyvalue import Table
from .common.wire import answering, read


@answering
def handle(event):
    purchase = read(event)
    with Table("productPrice") as prices:
        known = prices.keys()
        if purchase.get("id") not in known:
            return {**purchase, "gotPrice": False}
        return {**purchase, "gotPrice": True, "price": prices.get(purchase["id"])["price"]}
