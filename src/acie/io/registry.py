"""Which reader reads which file: decided by content, never by the name of the file."""

__all__ = ["ReadOptions", "Source", "guarded", "identify", "open_source", "read", "reader"]

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from acie.errors import ConfigurationError, DataError, MalformedSpectrum, ReaderNotFound
from acie.observation import Observation

# What astropy, pyarrow and specutils raise on damaged files.
_DAMAGE = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, AttributeError)
_HEAD_BYTES = 4096


@dataclass(frozen=True)
class ReadOptions:
    """What the caller of :func:`read` knows better than the file.

    Arguments:
        redshift: Redshift; replaces that of the file.
        flux_unit: Unit of the flux, as astropy writes units; replaces that of the file.
        wave_unit: Unit of the wavelength; replaces that of the file.
        medium: ``"vacuum"`` or ``"air"``; replaces that of the file.
    """

    redshift: float | None = None
    flux_unit: str | None = None
    wave_unit: str | None = None
    medium: str | None = None


@dataclass(frozen=True)
class Source:
    """A file with what readers look at to recognise it.

    Arguments:
        path: The file.
        head: Its first bytes.
    """

    path: Path
    head: bytes = field(repr=False)

    @property
    def kind(self) -> str:
        """``"fits"``, ``"parquet"``, ``"ecsv"``, ``"text"`` or ``"binary"``."""
        # Gzipped files can only be FITS here: astropy unpacks those by itself.
        if self.head.startswith((b"SIMPLE  =", b"\x1f\x8b")):
            return "fits"
        if self.head.startswith(b"PAR1"):
            return "parquet"
        if self.head.lstrip(b"\xef\xbb\xbf").startswith(b"# %ECSV"):
            return "ecsv"
        if b"\0" in self.head:
            return "binary"
        try:
            # A multi-byte character may be cut at the end of the head.
            self.head[:-4].decode("utf-8") if len(self.head) > 4 else self.head.decode("utf-8")
        except UnicodeDecodeError:
            return "binary"
        return "text"

    @cached_property
    def hdus(self) -> dict[str, tuple[str, ...]]:
        """Names of the HDUs of a FITS file with the lower-case names of their columns."""
        if self.kind != "fits":
            return {}
        from astropy.io import fits

        found: dict[str, tuple[str, ...]] = {}
        with fits.open(self.path) as hdus:
            for index, hdu in enumerate(hdus):
                columns = () if hdu.is_image else tuple(hdu.columns.names)
                found[hdu.name or str(index)] = tuple(name.lower() for name in columns)
        return found


@dataclass(frozen=True)
class _Reader:
    label: str
    identify: Callable[[Source], bool]
    read: Callable[[Source, ReadOptions], Observation]
    priority: int


# Filled at import by the decorator, by descending priority.
_READERS: list[_Reader] = []


def reader(
    label: str, *, identify: Callable[[Source], bool], priority: int = 10
) -> Callable[[Callable], Callable]:
    """Register a function as the reader of a kind of file.

    Arguments:
        label: What the format is called, as :func:`identify` reports it; unique.
        identify: Whether a file has this format, from its content.
        priority: Readers with a higher one are asked first: formats of surveys have 10, tables 1,
            images 0.

    Returns:
        A decorator for ``function(source, options) -> Observation``.
    """

    def register(function: Callable[[Source, ReadOptions], Observation]) -> Callable:
        # Registering a label again replaces it, so that a module can be reloaded.
        kept = [known for known in _READERS if known.label != label]
        kept.append(_Reader(label, identify, function, priority))
        _READERS[:] = sorted(kept, key=lambda known: -known.priority)
        return function

    return register


def open_source(path: str | Path) -> Source:
    """The file with its first bytes.

    Raises:
        ReaderNotFound: There is no such file, or it cannot be read.
        MalformedSpectrum: It is empty.
    """
    path = Path(path)
    if not path.is_file():
        kind = "a directory" if path.is_dir() else "no such file"
        remedy = "Give one file, or a glob." if path.is_dir() else "Check the path."
        raise ReaderNotFound(str(path), expected="a spectrum file", found=kind, remedy=remedy)
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError as error:
        raise ReaderNotFound(
            str(path),
            expected="a readable file",
            found=error.strerror or type(error).__name__,
            remedy="Check the permissions.",
        ) from error
    if not head:
        raise MalformedSpectrum(
            str(path),
            expected="a spectrum file",
            found="an empty file (0 bytes)",
            remedy="Fetch the file again.",
        )
    return Source(path, head)


def _find(source: Source) -> _Reader:
    for known in _READERS:
        if known.identify(source):
            return known
    labels = ", ".join(known.label for known in _READERS)
    held = f", holding {', '.join(source.hdus)}" if source.hdus else ""
    raise ReaderNotFound(
        str(source.path),
        expected=f"one of {labels}",
        found=f"a {source.kind} file that no reader recognises{held}",
        remedy="Give wavelength, flux and error as columns of a FITS, ECSV, CSV or Parquet table.",
    )


def guarded(path: Path, action: Callable[[], object]) -> object:
    """Run ``action`` so that every error is ACIE's and names the file."""
    try:
        with warnings.catch_warnings():
            # astropy only warns when a file ends early, and then hands out what is left.
            warnings.filterwarnings("error", message=".*[Tt]runcated.*")
            return action()
    except DataError as error:
        if error.argument.startswith(str(path)):
            raise
        raise type(error)(
            f"{path}: {error.argument}",
            expected=error.expected,
            found=error.found,
            remedy=error.remedy,
        ) from error
    except (*_DAMAGE, UserWarning) as error:
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise MalformedSpectrum(
            str(path),
            expected="a complete, undamaged file",
            found=f"{type(error).__name__}: {detail}",
            remedy="The file may be truncated or corrupt; fetch or write it again.",
        ) from error


def identify(path: str | Path) -> str:
    """The label of the reader that :func:`read` would use.

    Arguments:
        path: The file.

    Returns:
        The label, for example ``"sdss"``.

    Raises:
        ReaderNotFound: No reader recognises the file, or there is no such file.
        MalformedSpectrum: The file is damaged.
    """
    source = open_source(path)
    return guarded(source.path, lambda: _find(source)).label


def read(
    path: str | Path,
    *,
    redshift: float | None = None,
    flux_unit: str | None = None,
    wave_unit: str | None = None,
    medium: str | None = None,
) -> Observation:
    """Read a spectrum file onto the instrument grid.

    SDSS, BOSS and DESI files need nothing but their path. Spectra are not corrected for the dust
    of the Milky Way. The redshift is taken as it is; its range is checked by the model.

    Arguments:
        path: FITS, ECSV, CSV or Parquet file.
        redshift: Redshift; replaces that of the file. Where there is neither, and where NaN is
            given, the redshift of the observation is NaN: see :mod:`acie.redshift`.
        flux_unit: Unit of the flux, for files that do not say, such as ``"1e-17 erg/s/cm2/AA"``.
        wave_unit: Unit of the wavelength, for files that do not say, such as ``"nm"``.
        medium: ``"vacuum"`` or ``"air"``, for files that do not say; vacuum by default.

    Returns:
        The observation: without batch axis where the file holds one spectrum, otherwise with one.

    Raises:
        ReaderNotFound: No reader recognises the file, or there is no such file.
        MalformedSpectrum: The file is damaged or holds nothing usable.
        UnitMismatch: Units are missing or cannot be converted.
        ConfigurationError: ``medium`` is neither vacuum nor air.
    """
    if medium not in (None, "vacuum", "air"):
        raise ConfigurationError(
            "medium",
            expected="'vacuum' or 'air'",
            found=repr(medium),
            remedy="Leave it out for vacuum wavelengths.",
        )
    source = open_source(path)
    options = ReadOptions(redshift, flux_unit, wave_unit, medium)

    def action() -> Observation:
        found = _find(source)
        observation = found.read(source, options)
        observation.meta.setdefault("reader", found.label)
        observation.meta.setdefault("file", source.path.name)
        return observation

    return guarded(source.path, action)
