import { expect, it } from "vitest";
import { type Asking, ways } from "../src/lib/code";

const asking: Asking = {
  file: "my galaxy's.fits", example: false, samples: 64, seed: 0, origin: "http://localhost:8080",
  row: 0, rows: 1, redshift: null, unknown: false,
  question: { actions: { stellar_mass: { verb: "scale", amount: 1.5 } }, hold: ["size"] },
};

it("writes a command that a shell takes as it is meant", () => {
  expect(ways(asking).commands).toBe(
    "acie infer 'my galaxy'\\''s.fits' --do 'stellar_mass*=1.5' --hold size --samples 64 --seed 0 --out results",
  );
});

it("writes Python with the same question", () => {
  const { python } = ways(asking);
  expect(python).toContain('spectrum = acie.io.read("my galaxy\'s.fits")\n');
  expect(python).toContain('do=["stellar_mass*=1.5"]');
  expect(python).toContain('hold=["size"]');
});

it("asks the same service with curl", () => {
  const { curl } = ways(asking);
  expect(curl).toContain("'http://localhost:8080/api/v2/inference/observation?name=my%20galaxy'\\''s.fits'");
  expect(curl).toContain("{flux, ivar, lsf, redshift, name}");
});

it("carries a redshift that was typed", () => {
  const { commands, python, curl } = ways({ ...asking, redshift: 0.12 });
  expect(commands).toContain(" --redshift 0.12 ");
  expect(python).toContain('.fits", redshift=0.12)\nspectrum, estimate = acie.redshift.settle_redshift(spectrum, engine)');
  expect(curl).toContain("lsf, redshift: 0.12, name}");
  expect(curl).toContain("check_redshift: true}");
});

it("estimates where it is asked to, and in Python where the file says nothing", () => {
  const { commands, python, curl } = ways({ ...asking, redshift: "estimate" });
  expect(commands).toContain(" --redshift estimate ");
  expect(python).toContain('redshift=float("nan"))');
  expect(curl).toContain("{flux, ivar, lsf, name}");
  const unknown = ways({ ...asking, unknown: true });
  expect(unknown.commands).not.toContain("redshift");
  expect(unknown.python).toContain("settle_redshift(spectrum, engine)");
});

it("asks about one spectrum of a file of many", () => {
  const { python, curl } = ways({ ...asking, row: 3, rows: 7 });
  expect(python).toContain('.fits")[3]');
  expect(curl).toContain("&row=3'");
});
