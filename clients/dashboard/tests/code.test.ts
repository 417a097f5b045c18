import { expect, it } from "vitest";
import { ways } from "../src/lib/code";

const asking = {
  file: "my galaxy's.fits", example: false, samples: 64, seed: 0, origin: "http://localhost:8080",
  question: { actions: { stellar_mass: { verb: "scale", amount: 1.5 } }, hold: ["size"] },
} as const;

it("writes a command that a shell takes as it is meant", () => {
  expect(ways(asking).commands).toBe(
    "acie infer 'my galaxy'\\''s.fits' --do 'stellar_mass*=1.5' --hold size --samples 64 --seed 0 --out results",
  );
});

it("writes Python with the same question", () => {
  const { python } = ways(asking);
  expect(python).toContain('acie.io.read("my galaxy\'s.fits")');
  expect(python).toContain('do=["stellar_mass*=1.5"]');
  expect(python).toContain('hold=["size"]');
});

it("asks the same service with curl", () => {
  expect(ways(asking).curl).toContain("http://localhost:8080/api/v2/inference/observation?name=my%20galaxy's.fits");
});
