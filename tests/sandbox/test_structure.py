"""The import graph: no circles in the package, and a sandbox that imports nothing else of it."""

import grimp
import pytest

SANDBOX = "connector.sandbox"


@pytest.fixture(scope="module")
def graph():
    """Every import inside `connector`, imports under TYPE_CHECKING included."""
    return grimp.build_graph("connector", exclude_type_checking_imports=False, cache_dir=None)


def in_circles(graph):
    """The modules that import themselves through others."""
    return {
        module
        for module in graph.modules
        if any(
            graph.chain_exists(importer=imported, imported=module)
            for imported in graph.find_modules_directly_imported_by(module)
        )
    }


def test_no_import_circles(graph):
    assert in_circles(graph) == set()


def test_a_circle_is_found(graph):
    """The search finds a circle that is added to the graph."""
    state, vendor = f"{SANDBOX}.openpanel.state", f"{SANDBOX}.openpanel.vendor"
    graph.add_import(importer=state, imported=vendor)
    try:
        assert {state, vendor} <= in_circles(graph)
    finally:
        graph.remove_import(importer=state, imported=vendor)


def test_the_sandbox_imports_nothing_else_of_the_package(graph):
    """It judges the client in tests, so it must not share the client's mistakes."""
    sandbox = {SANDBOX, *graph.find_descendants(SANDBOX)}
    imported = {other for module in sandbox for other in graph.find_modules_directly_imported_by(module)}
    assert imported <= sandbox
