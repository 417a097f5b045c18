"""Constraints with the oldest version that pyproject.toml declares of each package.

``python tests/support/oldest_versions.py > versions.txt; make install CONSTRAINTS=versions.txt``
"""

import re
import sys
import tomllib
from pathlib import Path

__all__ = ["oldest"]

_BOUND = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?(?:>=|==)(?P<version>[0-9][^,;\s]*)")


def oldest(pyproject: Path) -> dict[str, str]:
    """Package to version: the lower bound, the highest where several extras name one."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project.get("optional-dependencies", {}).values()]
    found: dict[str, str] = {}
    for requirement in (one for group in groups for one in group):
        bound = _BOUND.match(requirement)
        if bound:
            name, version = bound["name"].lower(), bound["version"]
            found[name] = max(found.get(name, "0"), version, key=_numbers)
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


if __name__ == "__main__":
    pairs = oldest(Path(__file__).parents[2] / "pyproject.toml").items()
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in sorted(pairs))
