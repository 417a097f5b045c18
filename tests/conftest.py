"""In what order the files of tests run."""

from collections import Counter


def pytest_collection_modifyitems(items):
    """Files with the most slow tests first, so that no process waits for another at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
