import { number, words } from "../../lib/format";
import { moment } from "../../lib/times";
import type { Detail } from "./queries";

const SHOWN = ["simulations", "epochs", "batch", "learning_rate", "components", "population", "precision", "seed"] as const;

function text(value: unknown): string {
  if (typeof value === "number") return Number.isInteger(value) ? value.toLocaleString("en") : number(value);
  if (Array.isArray(value)) return value.map(text).join(" to ");
  return String(value);
}

/** How a model was made, as names and values for people. */
export function factsOf(detail: Detail): [string, string][] {
  const { training, metrics } = detail;
  const facts: [string, string][] = [
    ["Loaded", moment(detail.loaded)],
    ["Variables", text(detail.variables)],
    ["Numbers in its networks", text(detail.parameters)],
  ];
  for (const name of SHOWN) if (training[name] != null) facts.push([capital(words(name)), name === "seed" ? String(training[name]) : text(training[name])]);
  const survey = training.survey;
  if (typeof survey === "object" && survey !== null) {
    for (const [name, value] of Object.entries(survey)) facts.push([`Simulated ${words(name).replace("km s", "(km/s)")}`, text(value)]);
  }
  for (const [name, value] of Object.entries(metrics)) {
    if (typeof value === "number" && name !== "simulations") facts.push([capital(words(name)), text(value)]);
  }
  return facts;
}

const capital = (name: string) => name.charAt(0).toUpperCase() + name.slice(1);
