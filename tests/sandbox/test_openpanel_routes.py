"""Which requests OpenPanel accepts: credentials, routes, the request budget, and what the vendor remembers."""

import pytest

from connector.sandbox import READ, ROOT, WRITE
from connector.sandbox.openpanel.request_budget import Budget


def test_order_of_checks(openpanel):
    """The checks in their order: budget, query, credentials, project."""
    ask = openpanel(rate_limit=(3, 10.0))
    wrong = {"openpanel-client-secret": "wrong"}
    statuses = [
        ask.send("GET", "/export/events?limit=x&projectId=other", headers=wrong).status_code,
        ask.send("GET", "/export/events?projectId=other", headers=wrong).status_code,
        ask.send("GET", "/export/events?projectId=other").status_code,
        ask.send("GET", "/export/events?limit=x", headers=wrong).status_code,
    ]
    assert statuses == [400, 401, 403, 429]
    assert ask.vendor.refusals == 1


@pytest.mark.parametrize(("client", "status"), [(READ, 200), (ROOT, 200), (WRITE, 401), (None, 401)])
def test_who_may_read(openpanel, client, status):
    assert openpanel().events(client).status_code == status


def test_window_is_fixed_and_belongs_to_one_client(openpanel):
    """The window opens with the first request, is not extended by refusals, and counts only requests with a route."""
    ask = openpanel(rate_limit=(2, 10.0))
    first = ask.events()
    assert [first.headers[f"x-ratelimit-{part}"] for part in ("limit", "remaining", "reset")] == ["2", "1", "10"]
    assert ask.send("GET", "/export/nothing").status_code == 404
    assert "x-ratelimit-limit" not in ask.send("GET", "/").headers
    assert ask.events().status_code == 200
    ask.clock.now += 6.5
    refused = ask.events()
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "4")
    assert ask.events(ROOT).status_code == 200
    ask.clock.now += 3.5
    assert ask.events().headers["x-ratelimit-remaining"] == "1"
    assert "x-ratelimit-limit" not in openpanel(rate_limit=None).events().headers


def test_manage_refuses_at_twenty_calls_of_any_family():
    """All families of routes share one counter; only the limit differs."""
    budget = Budget((100, 10.0), lambda: 0.0)
    spent = [budget.spend("a client") for _ in range(20)]
    assert not any(one.refused for one in spent)
    manage = budget.spend("a client", manage=True)
    assert (manage.refused, manage.headers["x-ratelimit-limit"]) == (True, "20")
    assert not budget.spend("a client").refused
    assert not budget.spend("another client", manage=True).refused


def test_routes(ask):
    assert ask.send("GET", "/export/events/").json()["message"] == "Route GET:/export/events/ not found"
    assert ask.send("POST", "/export/events", json={}).status_code == 404
    assert ask.send("GET", "/healthcheck").json()["ready"] is True
    listed = ask.send("GET", "/documentation/json").json()["paths"]["/export/events"]["get"]["parameters"]
    assert "filters" in [parameter["name"] for parameter in listed]
    assert ask.events(event=["x" * 100] * 140).status_code == 200
    too_long = ask.events(event=["x" * 100] * 160)
    assert too_long.status_code == 431
    assert "content-encoding" not in ask.day(limit=1000).headers


def test_prefix_of_a_self_hosted_server(openpanel):
    ask = openpanel(prefix="/api")
    assert ask.send("GET", "/api/export/events").status_code == 200
    outside = ask.send("GET", "/export/events")
    assert (outside.status_code, outside.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert ask.send("GET", "/api/nothing?a=1").json()["message"] == "Route GET:/nothing?a=1 not found"


def test_requests_are_remembered(openpanel, ask):
    ask.events(event=["a", "b"], limit=2)
    ask.events(limit="x")
    first, second = ask.vendor.requests
    assert (first.method, first.path, first.status) == ("GET", "/export/events", 200)
    assert first.params == {"event": ["a", "b"], "limit": "2"}
    assert first.headers["openpanel-client-id"] == READ.id
    assert second.status == 400
