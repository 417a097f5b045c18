"""Where the manifests are: in the checkout, or in the package when it was installed from a wheel.

There is one source, the folder ``deploy`` of the repository; building a wheel puts a copy of it
into the package (``setup.py``).
"""

__all__ = ["copy_manifests", "manifests_folder", "overlays"]

import shutil
from pathlib import Path

from acie.errors import ConfigurationError, ManifestError

#: In a wheel, and in a checkout.
_PLACES = (Path(__file__).parent / "manifests", Path(__file__).parents[3] / "deploy")


def manifests_folder() -> Path:
    """The folder that holds ``k8s`` and ``compose``.

    Raises:
        ManifestError: This installation has none, as that in the image.
    """
    for place in _PLACES:
        if (place / "k8s" / "base" / "kustomization.yaml").is_file():
            return place
    raise ManifestError(
        "manifests",
        expected=f"the folder deploy of the repository, or {_PLACES[0]}",
        found="neither",
        remedy="Install ACIE from a checkout or from a wheel that was built in one.",
    )


def overlays() -> tuple[str, ...]:
    """Names of the overlays for Kubernetes."""
    folder = manifests_folder() / "k8s" / "overlays"
    return tuple(sorted(path.parent.name for path in folder.glob("*/kustomization.yaml")))


def copy_manifests(overlay: str, target: Path) -> str:
    """Copy the manifests for Kubernetes, and an overlay of one's own beside those of ACIE.

    Arguments:
        overlay: Name of an overlay, or a folder with a ``kustomization.yaml``; there
            ``../production`` and ``../../components/gpu`` mean ACIE's.
        target: Folder that is made.

    Returns:
        The name of the overlay in the copy.

    Raises:
        ConfigurationError: There is no such overlay.
    """
    shutil.copytree(manifests_folder() / "k8s", target)
    if overlay in overlays():
        return overlay
    own = Path(overlay)
    if not (own / "kustomization.yaml").is_file():
        raise ConfigurationError(
            "--overlay",
            expected=f"{', '.join(overlays())}, or a folder with a kustomization.yaml",
            found=overlay,
        )
    name = own.resolve().name
    if name in overlays():
        name = f"own-{name}"
    shutil.copytree(own, target / "overlays" / name)
    return name
