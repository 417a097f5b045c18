"""Constants with their source, in the units that their names say.

CGS and astronomical units as used by the template grids: the Bruzual and Charlot grids are in
solar luminosities per angstrom per solar mass with L_sun = 3.826e33 erg/s.
"""

__all__ = [
    "FLUX_SCALE",
    "GRAVITATION_KPC_KMS2_MSUN",
    "LIGHT_KM_S",
    "LOG10_YEARS_PER_GYR",
    "MPC_CM",
    "SOLAR_LUMINOSITY_ERG_S",
    "SOLAR_METALLICITY",
    "SOLAR_OXYGEN",
    "YEARS_PER_GYR",
]

#: Speed of light, km/s (CODATA, exact).
LIGHT_KM_S = 299_792.458
#: Gravitational constant, kpc km^2 s^-2 Msun^-1 (Cappellari et al. 2006 use this unit system).
GRAVITATION_KPC_KMS2_MSUN = 4.30091e-6
#: Megaparsec, cm (IAU 2015 resolution B2).
MPC_CM = 3.085_677_581e24
#: Solar luminosity of the Bruzual & Charlot (2003) grids, erg/s.
SOLAR_LUMINOSITY_ERG_S = 3.826e33
#: Solar metallicity, mass fraction, of the Bruzual & Charlot (2003) grids.
SOLAR_METALLICITY = 0.02
#: Solar oxygen abundance 12 + log10(O/H) (Asplund et al. 2009, ARA&A 47, 481).
SOLAR_OXYGEN = 8.69
#: Unit of flux density in every spectrum, erg/s/cm2/A.
FLUX_SCALE = 1e-17
YEARS_PER_GYR = 1e9
LOG10_YEARS_PER_GYR = 9.0
