"""Puts the manifests of ``deploy/`` into wheels, for ``acie deploy``; all else: pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCE = Path(__file__).parent / "deploy"


class BuildWithManifests(build_py):
    """Builds the package with a copy of ``deploy`` as ``acie/deploying/manifests``."""

    def run(self) -> None:
        """Build; an editable installation reads the folder itself."""
        super().run()
        target = Path(self.build_lib) / "acie" / "deploying" / "manifests"
        if SOURCE.is_dir() and not self.editable_mode:
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(SOURCE, target, ignore=shutil.ignore_patterns("docker", "secrets"))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Files that were built."""
        target = Path(self.build_lib) / "acie" / "deploying" / "manifests"
        copied = [str(path) for path in target.rglob("*") if path.is_file()]
        return [*super().get_outputs(include_bytecode), *copied]


setup(cmdclass={"build_py": BuildWithManifests})
