"""Lists the shop's categories, or the products of one."""

from .common.keyvalue import Table
from .common.wire import Failed, answering, read


@answering
def handle(event):
    if event.path == "/categories":
        with Table("productCategory") as categories:
            return [one["category"] for one in categories.values()]
    if event.path == "/products":
        wanted = (read(event).get("queryStringParameters") or {}).get("category")
        with Table("productCatalog") as catalog:
            return [one for one in catalog.values() if one["category"] == wanted]
    raise Failed(f"{event.path} is unknown; ask for /categories or /products")
