"""What an instance finds in its environment on either route, and what is refused at deployment."""

from __future__ import annotations

import pytest

from testbed.model import rewrite
from testbed.model.cluster import Route
from testbed.model.errors import UsageError

URL = "http://gateway.openfaas:8080/function"
VIPS = {"two": "10.96.1.1", "three": "10.96.1.2"}


def test_on_the_direct_route_a_callee_url_becomes_the_vip_with_path_and_query() -> None:
    values = {"A": f"{URL}/two/path?x=1", "B": f"{URL}/two, {URL}/three.tenant", "C": "plain", "D": ""}
    assert rewrite.environment(values, "tenant", Route.DIRECT, VIPS) == {
        "A": "http://10.96.1.1:8080/path?x=1",
        "B": "http://10.96.1.1:8080, http://10.96.1.2:8080",
        "C": "plain",
        "D": "",
    }


def test_on_the_gateway_route_only_the_namespace_is_added() -> None:
    values = {"A": f"{URL}/two/path?x=1", "B": f"{URL}/two.other", "C": "gateway:8080"}
    assert rewrite.environment(values, "tenant", Route.GATEWAY, {}) == {
        "A": f"{URL}/two.tenant/path?x=1",
        "B": f"{URL}/two.other",
        "C": "gateway:8080",
    }


def test_a_callee_that_is_not_deployed_is_said_so() -> None:
    with pytest.raises(rewrite.CalleeMissing) as caught:
        rewrite.environment({"A": f"{URL}/four"}, "tenant", Route.DIRECT, VIPS)
    assert str(caught.value) == "function four is not deployed in namespace tenant; deploy it"


@pytest.mark.parametrize("route", Route)
def test_a_callee_outside_the_calls_is_refused_on_both_routes(route: Route) -> None:
    with pytest.raises(UsageError) as caught:
        rewrite.check("one", "tenant", {"A": f"{URL}/two,{URL}/three"}, ("two",), route)
    assert str(caught.value) == (
        "environment value A of function one names function three, which is not among its directfaas/calls; "
        "add it there or take the value out"
    )


@pytest.mark.parametrize("route", Route)
def test_another_namespaces_function_is_refused_on_both_routes(route: Route) -> None:
    with pytest.raises(UsageError) as caught:
        rewrite.check("one", "tenant", {"A": f"{URL}/two.other"}, ("two",), route)
    assert str(caught.value) == (
        "environment value A of function one names two.other, a function of another namespace than tenant; "
        "leave the namespace out of the URL"
    )


def test_the_gateway_in_another_form_is_refused_on_the_direct_route_alone() -> None:
    environment = {"A": "http://gateway.openfaas:8080/async-function/two"}
    rewrite.check("one", "tenant", environment, ("two",), Route.GATEWAY)
    with pytest.raises(UsageError) as caught:
        rewrite.check("one", "tenant", environment, ("two",), Route.DIRECT)
    assert str(caught.value) == (
        'environment value A of function one contains the gateway ("gateway.openfaas:8080") in a form that the direct '
        "route cannot replace; write http://gateway.openfaas:8080/function/NAME, or deploy namespace tenant on the "
        "gateway route"
    )
