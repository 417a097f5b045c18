import { describe, expect, it } from "vitest";
import { actionTexts, fromParams, isNeutral, parseAction, toParams } from "../src/lib/question";

describe("questions", () => {
  it.each([
    ["stellar_mass*=1.5", "stellar_mass", "scale", 1.5],
    ["stellar_mass=x1.5", "stellar_mass", "scale", 1.5],
    ["sfr/=4", "sfr", "scale", 0.25],
    ["dust_av=0", "dust_av", "set", 0],
    ["gas_metallicity+=0.1", "gas_metallicity", "shift", 0.1],
    ["age-=1e-1", "age", "shift", -0.1],
  ])("reads %s as the command line does", (text, name, verb, amount) => {
    expect(parseAction(text)).toEqual([name, { verb, amount }]);
  });

  it.each(["", "x", "x=", "x=y", "x*=1.5dex", "x=1; drop", "x/=0", "=3"])("refuses %j", (text) => {
    expect(parseAction(text)).toBeNull();
  });

  it("comes back from its link", () => {
    const question = {
      actions: { stellar_mass: { verb: "scale", amount: 1.5 }, age: { verb: "shift", amount: -0.25 }, dust_av: { verb: "set", amount: 0 } },
      hold: ["size", "sfr"],
    } as const;
    const link = toParams(question, new URLSearchParams("example=example"));
    expect(link.get("example")).toBe("example");
    expect(fromParams(new URLSearchParams(link.toString()))).toEqual(question);
  });

  it("does not ask about what changes nothing", () => {
    const actions = { a: { verb: "scale", amount: 1 }, b: { verb: "shift", amount: 0 }, c: { verb: "set", amount: 0 } } as const;
    expect(actionTexts({ actions, hold: [] })).toEqual(["c=0"]);
    expect(isNeutral(actions.c)).toBe(false);
  });

  it("takes no names from a link that could be anything else", () => {
    expect(fromParams(new URLSearchParams("hold=size,<b>,a b&do=<img>,sfr*=2")).hold).toEqual(["size"]);
  });
});
