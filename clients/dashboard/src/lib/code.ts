/** The same question in other ways of asking. */
import type { Question } from "./question";
import { actionTexts } from "./question";

export interface Ways {
  python: string;
  curl: string;
  commands: string;
}

/** A name that no shell takes for anything else. */
function quoted(text: string): string {
  return /^[\w./+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

export interface Asking {
  file: string;
  /** The file is the one that ships with ACIE. */
  example: boolean;
  question: Question;
  samples: number;
  seed: number;
  origin: string;
}

const example = (name: string) => `importlib.resources.files("acie") / "examples" / ${JSON.stringify(name)}`;

export function ways({ file, example: shipped, question, samples, seed, origin }: Asking): Ways {
  const texts = actionTexts(question);
  const hold = [...question.hold];
  const path = shipped ? example(file) : JSON.stringify(file);
  const python = [
    ...(shipped ? ["import importlib.resources", ""] : []),
    "import torch",
    "",
    "import acie",
    "import acie.io",
    "",
    'engine = acie.load("galaxy-v1")',
    `spectrum = acie.io.read(${path})`,
    "result = engine.counterfactual(",
    "    spectrum,",
    `    do=${JSON.stringify(texts)},`,
    ...(hold.length > 0 ? [`    hold=${JSON.stringify(hold)},`] : []),
    `    num_samples=${samples},`,
    `    generator=torch.Generator().manual_seed(${seed}),`,
    ")",
    'print(result.quality, result.effect("flux").median(0).values)',
  ].join("\n");
  const name = encodeURIComponent(file);
  const request = `{observation: {flux, ivar, lsf, redshift, name}, intervention: ${JSON.stringify(texts)}, hold: ${JSON.stringify(hold)}, samples: ${samples}, seed: ${seed}}`;
  const read = shipped
    ? `curl -sS --fail-with-body ${origin}/api/v2/examples/${encodeURIComponent(file.replace(/\.fits$/, ""))}`
    : `curl -sS --fail-with-body '${origin}/api/v2/inference/observation?name=${name}' \\\n    -H 'Content-Type: application/octet-stream' --data-binary @${quoted(file)}`;
  const curl = [
    `${read} |`,
    `  jq ${quoted(request)} |`,
    `  curl -sS --fail-with-body ${origin}/api/v2/inference/counterfactual \\`,
    "    -H 'Content-Type: application/json' -d @- > answer.json",
  ].join("\n");
  const actions = texts.map((text) => ` --do ${quoted(text)}`).join("");
  const held = hold.length > 0 ? ` --hold ${hold.join(",")}` : "";
  const where = shipped ? `"$(python -c 'import importlib.resources; print(${example(file)})')"` : quoted(file);
  const commands = `acie infer ${where}${actions}${held} --samples ${samples} --seed ${seed} --out results`;
  return { python, curl, commands };
}
