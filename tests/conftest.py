"""What all tests share: which of them run in one process when there are several.

``make test`` runs two processes. The tests of a file stay together, and so do those of a folder
that starts servers or builds something for all of its files.
"""

import pytest

TOGETHER = ("cluster", "dashboard", "serving/remote", "tracking")


def pytest_collection_modifyitems(items):
    for item in items:
        place = item.nodeid.partition("::")[0].removeprefix("tests/")
        folder = next((name for name in TOGETHER if place.startswith(f"{name}/")), place)
        item.add_marker(pytest.mark.xdist_group(folder))
