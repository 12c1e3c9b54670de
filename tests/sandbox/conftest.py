"""Fixtures that start the simulated vendors on real sockets."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from connector.sandbox import OpenPanel, Userpilot, serve
from tests.sandbox.factory import Asker, Clock, Exporter, Stage


@pytest.fixture
def openpanel() -> Iterator[Callable[..., Asker]]:
    """Creates servers. Their clock stands at 2026-03-05T12:00:00Z until the test moves it."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Asker:
            clock = Clock(1_772_712_000.0)
            vendor = OpenPanel(clock=clock, **settings)
            asker = Asker(vendor, stack.enter_context(serve(vendor.app)), clock)
            stack.callback(asker.http.close)
            return asker

        yield make


@pytest.fixture
def ask(openpanel) -> Asker:
    """A server with the usual settings."""
    return openpanel()


@pytest.fixture
def stockholm(openpanel) -> Asker:
    """A server without a request budget, whose organisation is in Stockholm."""
    ask = openpanel(rate_limit=None)
    ask.vendor.add_project("demo", timezone="Europe/Stockholm")
    return ask


@pytest.fixture(scope="session")
def stages() -> Iterator[Callable[[ExitStack], Stage]]:
    """Lends a pair of ports to a test until it ends; opens a new one only if all are in use."""
    free: list[Stage] = []
    with ExitStack() as everything:

        def lend(borrower: ExitStack) -> Stage:
            stage = free.pop() if free else Stage(everything)
            borrower.callback(free.append, stage)
            return stage

        yield lend


@pytest.fixture
def userpilot(stages) -> Iterator[Callable[..., Exporter]]:
    """Creates environments. Their clock stands at 2026-03-05T12:00:00Z until the test moves it."""
    with ExitStack() as stack:

        def make(world: str = "documented", **settings: Any) -> Exporter:
            clock = Clock(1_772_712_000.0)
            vendor = Userpilot(world=world, clock=clock, **settings)
            stage = stages(stack)
            api, vendor.files_url = stage.urls
            stage.vendor = vendor
            exporter = Exporter(vendor, api, vendor.files_url, clock)
            stack.callback(exporter.http.close)
            return exporter

        yield make


@pytest.fixture(params=["documented", "odd"])
def pilot(request, userpilot) -> Exporter:
    """The same question in both worlds."""
    return userpilot(request.param)


@pytest.fixture
def documented(userpilot) -> Exporter:
    """An environment that behaves as documented."""
    return userpilot()


@pytest.fixture
def odd(userpilot) -> Exporter:
    """An environment with the other reading of everything."""
    return userpilot("odd")
