"""Write observations: FITS, ECSV or Parquet by the name of the file, with units."""

__all__ = ["write_observation"]

import json
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Column, Table

from acie.errors import ConfigurationError
from acie.io.units import FLUX_UNIT
from acie.observation import WAVELENGTH, Observation

_FORMATS = {
    ".fits": "fits",
    ".fit": "fits",
    ".ecsv": "ascii.ecsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def _table(observation: Observation) -> Table:
    """One row per pixel for one spectrum, one row per galaxy for a batch."""
    many = observation.is_batch
    flat = observation.batched()
    flux, ivar, lsf = (
        getattr(flat, name).detach().cpu().numpy() for name in ("flux", "ivar", "lsf")
    )
    wave = np.broadcast_to(WAVELENGTH, flux.shape)
    units = {"wavelength": u.AA, "flux": FLUX_UNIT, "ivar": FLUX_UNIT**-2, "lsf": u.km / u.s}
    values = {"wavelength": wave, "flux": flux, "ivar": ivar, "lsf": lsf}
    table = Table()
    names = list(flat.names) or [f"spectrum-{index}" for index in range(len(flux))]
    if many:
        table["name"] = names
        table["redshift"] = flat.redshift.detach().cpu().numpy().astype(np.float64)
        table["quality"] = flat.quality.cpu().numpy()
    else:
        # FITS headers hold no NaN; a file without the keyword is read as one without redshift.
        if bool(flat.redshift[0].isfinite()):
            table.meta["REDSHIFT"] = float(flat.redshift[0])
        table.meta["ACIEQUAL"] = int(flat.quality[0])
        table.meta["OBJECT"] = names[0]
    for name, array in values.items():
        data = np.array(array if many else array[0], dtype=np.float64)
        table[name] = Column(data, unit=units[name])
    table.meta["AIRORVAC"] = "vac"
    # As text, because FITS keywords hold neither lists nor lower case.
    table.meta["ACIEMETA"] = json.dumps(observation.meta, default=str)
    return table


def write_observation(observation: Observation, path: str | Path) -> Path:
    """Write an observation so that :func:`acie.io.read` returns it unchanged.

    Columns are wavelength (angstrom, vacuum), flux (1e-17 erg/s/cm2/A), ivar and lsf (km/s), all
    with their units. An existing file is replaced.

    Arguments:
        observation: The observation.
        path: Where to; the suffix ``.fits``, ``.ecsv`` or ``.parquet`` chooses the format.

    Returns:
        The path.

    Raises:
        ConfigurationError: The suffix is none of these.
    """
    path = Path(path)
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ConfigurationError(
            "path",
            expected=f"a name that ends in {', '.join(_FORMATS)}",
            found=repr(path.name),
            remedy="Choose one of these formats.",
        )
    _table(observation).write(path, format=kind, overwrite=True)
    return path
