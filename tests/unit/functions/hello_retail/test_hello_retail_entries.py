"""The other ways into Hello, Retail!: the catalogue, photographers, cards; and what an empty shop makes of itself."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.unit.functions.hello_retail.questions import PUT, REQUESTS, SHOW, ask, error, photo_request, recorded
from tests.unit.functions.hello_retail.retail_rig import OPERATORS, Shop, until


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_every_described_request_has_its_status_and_sizes(retail: Shop, name: str) -> None:
    request = REQUESTS[name]
    before = photo_request(retail) if request.after else None
    hop = ask(retail, name, before)
    assert hop.status == request.status
    assert request.request_bytes[0] <= len(hop.request) <= request.request_bytes[1]
    assert request.answer_bytes[0] <= len(hop.answer) <= request.answer_bytes[1]
    assert request.measured == (name in ("photo-request", "photo-acquire", "product-purchase"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("list-categories", [[SHOW, "SELECT"]]),
        ("list-products", [[SHOW, "SELECT"]]),
        ("create-product", [[SHOW, *PUT]] * 3),
        ("register-photographer", [[SHOW, *PUT]]),
    ],
)
def test_statements_of_the_other_ways_in(retail: Shop, name: str, expected: list[list[str]]) -> None:
    assert recorded(retail, lambda: ask(retail, name), len(expected)) == expected


def test_a_product_is_written_in_two_branches_at_the_same_time(retail: Shop) -> None:
    """A catalogue that is held up does not hold the price up."""
    retail.database.execute("UPDATE productPrice SET rowvalues = 'old'")
    with (
        ThreadPoolExecutor(1) as pool,
        retail.database.locked("SELECT * FROM productCategory FOR UPDATE") as unlock,
    ):
        answer = pool.submit(ask, retail, "create-product")
        price = [('{"price":"499"}',)]
        until(lambda: retail.database.execute("SELECT rowvalues FROM productPrice") == price, "the price is written")
        assert not answer.done()
        unlock()
        assert answer.result().status == 200


def test_an_empty_shop_makes_its_tables_as_it_is_filled(retail: Shop) -> None:
    seeded = retail.database.definitions()
    contents = retail.database.contents(("productCategory", "productCatalog", "productPrice", "creditCardAuthority"))
    retail.database.empty()
    assert ask(retail, "create-product").status == 200
    assert ask(retail, "register-photographer").status == 200
    card = {"user": "prabkumar", "creditCard": "1234-5678-9"}
    added = retail.gateway.ask(OPERATORS, card)
    assert (added.status, added.answer, len(added.request)) == (200, b"", 47)
    assert ask(retail, "product-purchase").status == 200
    assert retail.database.contents(tuple(contents)) == contents, "the seed is what these requests make"
    ((entry,),) = retail.database.execute("SELECT rowvalues FROM photographerRegistry")
    assert (len(entry), json.loads(entry)["assignments"]) == (61, 0)
    assert ask(retail, "photo-acquire", photo_request(retail)).status == 200
    until(lambda: retail.database.definitions() == seeded, "every table is made")


def test_a_product_may_be_given_an_image(retail: Shop) -> None:
    image = {"data": {"id": "4579874", "image": "https://photos.example/4579874/1"}}
    assert retail.gateway.ask("product-catalog-builder", image, "/image").status == 200
    (product,) = json.loads(ask(retail, "list-products").answer)
    assert product["image"] == image["data"]["image"]
    unknown = retail.gateway.ask("product-catalog-builder", {"data": {"id": "0"}}, "/image")
    assert error(unknown) == (500, "there is no product 0")
