/** The same question in other ways of asking. */
import type { GivenRedshift } from "../api/queries";
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
  /** Which spectrum of the file, from 0, and how many there are. */
  row: number;
  rows: number;
  redshift: GivenRedshift;
  /** The file says nothing of its redshift. */
  unknown: boolean;
  samples: number;
  seed: number;
  origin: string;
}

const example = (name: string) => `importlib.resources.files("acie") / "examples" / ${JSON.stringify(name)}`;

function pythonOf({ file, example: shipped, question, row, rows, redshift, unknown, samples, seed }: Asking): string {
  const texts = actionTexts(question);
  const given = redshift === null ? "" : `, redshift=${redshift === "estimate" ? 'float("nan")' : redshift}`;
  // What is not known is estimated, and what somebody typed is compared with the spectrum.
  const settled = redshift !== null || unknown;
  return [
    ...(shipped ? ["import importlib.resources", ""] : []),
    "import torch",
    "",
    "import acie",
    "import acie.io",
    ...(settled ? ["import acie.redshift"] : []),
    "",
    'engine = acie.load("galaxy-v1")',
    `spectrum = acie.io.read(${shipped ? example(file) : JSON.stringify(file)}${given})${rows > 1 ? `[${row}]` : ""}`,
    ...(settled ? ["spectrum, estimate = acie.redshift.settle_redshift(spectrum, engine)"] : []),
    "result = engine.counterfactual(",
    "    spectrum,",
    `    do=${JSON.stringify(texts)},`,
    ...(question.hold.length > 0 ? [`    hold=${JSON.stringify(question.hold)},`] : []),
    `    num_samples=${samples},`,
    `    generator=torch.Generator().manual_seed(${seed}),`,
    ")",
    'print(result.quality, result.effect("flux").median(0).values)',
  ].join("\n");
}

function curlOf({ file, example: shipped, question, row, rows, redshift, samples, seed, origin }: Asking): string {
  const known = redshift === null ? "redshift, " : redshift === "estimate" ? "" : `redshift: ${redshift}, `;
  const checked = typeof redshift === "number" ? ", check_redshift: true" : "";
  const request = `{observation: {flux, ivar, lsf, ${known}name}, intervention: ${JSON.stringify(actionTexts(question))}, hold: ${JSON.stringify(question.hold)}, samples: ${samples}, seed: ${seed}${checked}}`;
  const which = `name=${encodeURIComponent(file)}${rows > 1 ? `&row=${row}` : ""}`;
  const read = shipped
    ? `curl -sS --fail-with-body ${origin}/api/v2/examples/${encodeURIComponent(file.replace(/\.fits$/, ""))}`
    : `curl -sS --fail-with-body ${quoted(`${origin}/api/v2/inference/observation?${which}`)} \\\n    -H 'Content-Type: application/octet-stream' --data-binary ${quoted(`@${file}`)}`;
  return [
    `${read} |`,
    `  jq ${quoted(request)} |`,
    `  curl -sS --fail-with-body ${origin}/api/v2/inference/counterfactual \\`,
    "    -H 'Content-Type: application/json' -d @- > answer.json",
  ].join("\n");
}

function commandOf({ file, example: shipped, question, row, rows, redshift, samples, seed }: Asking): string {
  const actions = actionTexts(question).map((text) => ` --do ${quoted(text)}`).join("");
  const held = question.hold.length > 0 ? ` --hold ${question.hold.join(",")}` : "";
  const given = redshift === null ? "" : ` --redshift ${redshift}`;
  const where = shipped ? `"$(python -c 'import importlib.resources; print(${example(file)})')"` : quoted(file);
  const which = rows > 1 ? `\n# Answers all ${rows} spectra of the file; this one is number ${row} of the results.` : "";
  return `acie infer ${where}${actions}${held}${given} --samples ${samples} --seed ${seed} --out results${which}`;
}

export function ways(asking: Asking): Ways {
  return { python: pythonOf(asking), curl: curlOf(asking), commands: commandOf(asking) };
}
