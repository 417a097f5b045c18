"""The page as it is built: its code is checked, small, and made from the committed contract."""

import gzip
import json
import tomllib

from dashboards import PROJECT, ROOT, run


def test_the_client_is_made_from_the_committed_contract(project):
    run("npm", "run", "-s", "api:check")


def test_no_lint(project):
    run("npm", "run", "-s", "lint")


def test_the_parts_work(project):
    run("npm", "test")


def test_explore_loads_little_code_and_no_charts_of_monitor(page):
    manifest = json.loads((page / "manifest.json").read_text())
    entry = next(key for key, chunk in manifest.items() if chunk.get("isEntry"))
    wanted, open_ = set(), [entry, "src/routes/Explore.tsx"]
    while open_:
        key = open_.pop()
        if key not in wanted:
            wanted.add(key)
            open_ += manifest[key].get("imports", [])
    files = [page / manifest[key]["file"] for key in wanted]
    sizes = {file.name: len(gzip.compress(file.read_bytes(), 9)) for file in files}
    assert sum(sizes.values()) < 300_000, sizes
    text = "".join(file.read_text("utf-8") for file in files)
    assert "recharts" not in text


def test_the_lock_names_exact_versions_and_no_host():
    wanted = json.loads((PROJECT / "package.json").read_text())
    lock = json.loads((PROJECT / "package-lock.json").read_text())
    for name, version in (wanted["dependencies"] | wanted["devDependencies"]).items():
        assert version[0].isdigit(), f"{name} {version} is no exact version"
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    assert not [name for name, one in lock["packages"].items() if "resolved" in one]


def test_the_page_is_part_of_the_wheel_and_not_of_the_checkout():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "serving/page/**/*" in settings["tool"]["setuptools"]["package-data"]["acie"]
    assert "/src/acie/serving/page/" in (ROOT / ".gitignore").read_text().splitlines()
