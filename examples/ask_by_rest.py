"""Ask a running service over REST: python examples/ask_by_rest.py [URL].

Start one with `acie serve`. The spectrum is the bundled simulated galaxy; any mapping with flux,
ivar and redshift does as well.
"""

import sys
from importlib.resources import files

import acie
from acie_sdk import ACIEClient, BadRequestError


def main(url: str) -> None:
    """One question, a refusal, and a small scan."""
    galaxy = acie.io.read(files("acie") / "examples" / "example.fits")
    with ACIEClient(url) as client:
        answer = client.infer(galaxy, "stellar_mass*=1.5", seed=1)
        print(answer)
        print(answer.table())

        try:
            client.infer(galaxy, "stellar_mass=1.5")
        except BadRequestError as error:
            print(f"\nrefused: {error.argument}; {error.remedy}\n")

        amounts = [0.0, 0.5, 1.0]
        scan = client.infer_batch([galaxy] * 3, [{"dust_av": amount} for amount in amounts])
        for amount, one in zip(amounts, scan, strict=True):
            print(f"A_V = {amount}: flux at 5500 angstrom {one.counterfactual[1900]:.2f}")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["http://127.0.0.1:8080"]))
