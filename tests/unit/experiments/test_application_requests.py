"""Descriptions of an application's requests: bodies to the byte, and mistakes told by name."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from experiments.application_requests import Request, load, measured
from testbed.model.errors import UsageError


def described(folder: Path, text: str) -> dict[str, Request]:
    (folder / "shop").mkdir(exist_ok=True)
    (folder / "shop" / "requests.yaml").write_text(text)
    return load("shop", folder)


def test_bodies_are_compact_and_keep_the_order_of_their_keys(tmp_path: Path) -> None:
    (request,) = described(
        tmp_path, 'requests: {buy: {function: f, path: /, body: {z: "1", a: {y: 2, b: true}}}}'
    ).values()
    assert request.content() == b'{"z":"1","a":{"y":2,"b":true}}'
    assert (request.method, request.status, request.measured, request.request_bytes) == ("POST", 200, False, None)


def test_a_request_without_a_body_has_none(tmp_path: Path) -> None:
    (request,) = described(tmp_path, "requests: {page: {function: f, method: GET, path: /productpage}}").values()
    assert (request.method, request.path, request.content()) == ("GET", "/productpage", b"")


def test_fields_are_taken_from_the_answer_before(tmp_path: Path) -> None:
    text = "requests: {one: {function: f}, two: {function: g, after: one, from_answer: {who: data.id}, body: {who: x}}}"
    two = described(tmp_path, text)["two"]
    assert two.content(previous={"data": {"id": "7"}}) == b'{"who":"7"}'
    for wrong in (None, {}, {"data": "7"}, {"data": {}}):
        with pytest.raises(UsageError, match=r"^two needs data\.id of the answer before it"):
            two.content(previous=wrong)


def test_random_bytes_have_their_sizes_in_turn_and_come_again(tmp_path: Path) -> None:
    text = 'requests: {photo: {function: f, body: {photo: ""}, random_base64: {photo: [100, 7]}}}'
    photo = described(tmp_path, text)["photo"]
    bodies = [photo.content(number) for number in range(4)]
    assert [len(base64.b64decode(json.loads(body)["photo"])) for body in bodies] == [100, 7, 100, 7]
    assert len(set(bodies)) == 4
    assert bodies == [photo.content(number) for number in range(4)]
    assert photo.content(0, seed=1) != bodies[0]


def test_what_is_measured_keeps_its_order(tmp_path: Path) -> None:
    text = "requests: {b: {function: f, measured: true}, c: {function: f}, a: {function: f, measured: true}}"
    assert [request.name for request in measured(described(tmp_path, text))] == ["b", "a"]
    assert [request.name for request in measured(load("hello_retail"))] == [
        "photo-request", "photo-acquire", "product-purchase",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("requests: {a: {function: f, after: b}}", 'a comes after "b", which is not there'),
        ("requests: {a: {functoin: f}}", "functoin"),
        ("requests: {a: {}}", "function"),
        ("requests: [", "describes no requests"),
        ("other: {}", "describes no requests"),
        ("", "describes no requests"),
        ("requests: {a: {function: f, random_base64: {x: 7}}}", "describes no requests"),
    ],
)
def test_a_description_that_is_wrong_is_refused_by_its_file(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        described(tmp_path, text)
    assert str(tmp_path / "shop" / "requests.yaml") in str(caught.value)
    assert said in str(caught.value)


def test_an_application_without_a_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'^application "shop" has no '):
        load("shop", tmp_path)
