"""What pyproject.toml cannot say: compiled kernels, and the manifests of ``deploy/`` in wheels."""

import os
import shutil
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

SOURCE = Path(__file__).parent / "deploy"
NATIVE = "src/acie/native"
WITH_KERNELS = os.environ.get("ACIE_KERNELS") != "0"
#: Sums may be reordered, which vectors need; numbers that are not finite keep their meaning, and
#: the process its treatment of tiny ones, which -ffast-math would change for everybody.
OPTIONS = [
    "-O3", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros",
    "-fassociative-math", "-ffp-contract=fast", "-Wno-psabi",
]  # fmt: skip

#: Without a compiler the package installs as well, and torch does what the kernels would. A wheel
#: for every platform is built with ACIE_KERNELS=0.
KERNELS = Extension(
    "acie.native._kernels",
    sources=[f"{NATIVE}/{name}.c" for name in ("module", "baseline", "x86_64_v3", "x86_64_v4")],
    depends=[str(path) for path in Path(NATIVE).glob("*.[ch]")],
    extra_compile_args=OPTIONS,
    py_limited_api=True,
    optional=True,
)


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


setup(
    cmdclass={"build_py": BuildWithManifests},
    ext_modules=[KERNELS] if WITH_KERNELS else [],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if WITH_KERNELS else {},
)
