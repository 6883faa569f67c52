"""Tells the result of a purchase, once it has a price and an authorisation."""

from .common.wire import Failed, answering, read


@answering
def handle(event):
    purchase = read(event)
    if not purchase.get("gotPrice") or not purchase.get("approved"):
        raise Failed("the purchase has no price or was not approved")
    return {
        "productId": purchase["id"],
        "productPrice": purchase["price"],
        "userId": purchase["user"],
        "authorization": purchase["authorization"],
    }
