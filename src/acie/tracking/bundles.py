"""Bundles on their way to the store and back: loaded to see that they work, compared by digest."""

__all__ = ["check_bundle", "download_bundle", "is_stored"]

import tempfile
from pathlib import Path

from acie.errors import BundleError, ChecksumMismatch, RegistryUnreachable, TrackingError
from acie.manifest import bundle_kind, sha256
from acie.tracking.store import Store


def check_bundle(folder: Path) -> dict[str, str]:
    """Load a bundle to see that it can be used.

    Returns:
        Its ``name``, ``version`` and ``digest``, and the SHA-256 of its ``manifest``.

    Raises:
        BundleError: There is none, or it cannot be used.
    """
    if bundle_kind(folder) == "tabular":
        from acie.tabular import TabularBundle as Bundle
    else:
        from acie.bundle import ModelBundle as Bundle
    bundle = Bundle.load(folder)
    return {
        "name": bundle.name,
        "version": bundle.version,
        "digest": bundle.digest,
        "manifest": sha256(folder / "manifest.json"),
    }


def download_bundle(store: Store, source: str, manifest: str, folder: Path) -> Path:
    """Fetch a bundle and see that it is the one that is meant.

    Arguments:
        store: Where it is.
        source: Its address there.
        manifest: SHA-256 of its manifest, which covers every file.
        folder: An empty one.

    Returns:
        The folder of the bundle, in ``folder``.

    Raises:
        ChecksumMismatch: It is not what was registered.
        BundleError: It cannot be used here.
        RegistryUnreachable: Nobody answers.
        TrackingError: It is not there.
    """
    found = store.download(source, folder)
    path = found / "manifest.json"
    if not path.is_file() or sha256(path) != manifest:
        raise ChecksumMismatch(
            "manifest of the registered bundle",
            expected=f"SHA-256 {manifest[:12]}..., as registered",
            found=sha256(path)[:12] if path.is_file() else "no such file",
            remedy="It was changed in the store: register the bundle again.",
        )
    check_bundle(found)
    return found


def is_stored(store: Store, source: str, manifest: str) -> bool:
    """Whether the store still has a whole bundle at an address.

    Raises:
        RegistryUnreachable: Nobody answers.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            download_bundle(store, source, manifest, Path(folder))
        except RegistryUnreachable:
            raise
        except (BundleError, TrackingError):
            return False
    return True
