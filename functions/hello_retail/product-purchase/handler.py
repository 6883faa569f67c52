"""Buys a product: its price, the card's authorisation and the result's publication, one after the other.

With PURCHASE_PARALLEL=true the price and the authorisation are asked for at the same time, and what
they say is put together for the publication.
"""

import os
from concurrent.futures import ThreadPoolExecutor

from .common.calls import call
from .common.wire import answering, read

GET_PRICE = os.environ["URL_PRODUCT_PURCHASE_GET_PRICE"]
AUTHORIZE_CC = os.environ["URL_PRODUCT_PURCHASE_AUTHORIZE_CC"]
PUBLISH = os.environ["URL_PRODUCT_PURCHASE_PUBLISH"]
PARALLEL = os.environ.get("PURCHASE_PARALLEL", "false") == "true"


@answering
def handle(event):
    order = read(event)
    authorized = both(order, event) if PARALLEL else authorize(price(order, event), event)
    return call(PUBLISH, authorized, event, "failed to publish")


def both(order, event):
    with ThreadPoolExecutor(2) as pool:
        priced, authorized = pool.submit(price, order, event), pool.submit(authorize, order, event)
        return {**priced.result(), **authorized.result()}


def price(order, event):
    return call(GET_PRICE, order, event, "failed to get price")


def authorize(order, event):
    return call(AUTHORIZE_CC, order, event, "failed to authorize credit card")
