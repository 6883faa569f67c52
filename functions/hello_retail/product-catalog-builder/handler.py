"""Puts a product into the catalogue with its category and price, or gives a product its image."""

from concurrent.futures import ThreadPoolExecutor

from .common.keyvalue import Table
from .common.wire import Failed, answering, read


@answering
def handle(event):
    data = read(event).get("data") or {}
    if not isinstance(data.get("id"), str):
        raise Failed("data needs the id of a product")
    if event.path == "/product":
        with ThreadPoolExecutor(2) as pool:
            for branch in [pool.submit(add_to_catalog, data), pool.submit(set_price, data)]:
                branch.result()
    elif event.path == "/image":
        set_image(data)
    else:
        raise Failed(f"{event.path} is unknown; send to /product or /image")


def add_to_catalog(data):
    with Table("productCategory") as categories:
        categories.put(data["category"], {"category": data["category"]})
    with Table("productCatalog") as catalog:
        catalog.put(data["id"], {key: data[key] for key in ("id", "brand", "name", "description", "category")})


def set_price(data):
    with Table("productPrice") as prices:
        prices.put(data["id"], {"price": str(data["price"])})


def set_image(data):
    with Table("productCatalog") as catalog:
        product = catalog.get(data["id"])
        if product is None:
            raise Failed(f"there is no product {data['id']}")
        catalog.put(data["id"], {**product, "image": data["image"]})
