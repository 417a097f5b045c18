/** Questions as the command line writes them, and as a link carries them. */

export type Verb = "scale" | "set" | "shift";

export interface Action {
  verb: Verb;
  amount: number;
}

export interface Question {
  actions: Readonly<Record<string, Action>>;
  hold: readonly string[];
}

export const NOTHING: Question = { actions: {}, hold: [] };

const SIGNS: Record<Verb, string> = { scale: "*=", set: "=", shift: "+=" };
const NEUTRAL: Record<Verb, number | null> = { scale: 1, set: null, shift: 0 };
const TEXT = /^\s*([A-Za-z_]\w*)\s*(\*=|\/=|\+=|-=|=\s*x|=)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*$/;

/** Four significant digits are more than anybody sets by hand. */
export function rounded(amount: number): number {
  return Number(amount.toPrecision(4));
}

/** Whether an action leaves everything as it is. */
export function isNeutral({ verb, amount }: Action): boolean {
  return NEUTRAL[verb] === amount;
}

export function actionText(name: string, { verb, amount }: Action): string {
  if (verb === "shift" && amount < 0) return `${name}-=${rounded(-amount)}`;
  return `${name}${SIGNS[verb]}${rounded(amount)}`;
}

/** The actions that change something, as texts. */
export function actionTexts({ actions }: Question): string[] {
  return Object.entries(actions)
    .filter(([, action]) => !isNeutral(action))
    .map(([name, action]) => actionText(name, action));
}

/** The action of a text, or null where it is none that a slider can show. */
export function parseAction(text: string): [string, Action] | null {
  const match = TEXT.exec(text);
  if (!match) return null;
  const [, name = "", sign = "", number = ""] = match;
  const amount = Number(number);
  if (!Number.isFinite(amount)) return null;
  switch (sign.replace(/\s/g, "")) {
    case "*=":
    case "=x":
      return [name, { verb: "scale", amount }];
    case "/=":
      return amount === 0 ? null : [name, { verb: "scale", amount: 1 / amount }];
    case "+=":
      return [name, { verb: "shift", amount }];
    case "-=":
      return [name, { verb: "shift", amount: -amount }];
    default:
      return [name, { verb: "set", amount }];
  }
}

/** Parameters of a link that asks this question. */
export function toParams(question: Question, params: URLSearchParams): URLSearchParams {
  const next = new URLSearchParams(params);
  next.delete("do");
  next.delete("hold");
  for (const [name, action] of Object.entries(question.actions)) next.append("do", actionText(name, action));
  if (question.hold.length > 0) next.set("hold", question.hold.join(","));
  return next;
}

/** The question of a link; what cannot be read of it is left out. */
export function fromParams(params: URLSearchParams): Question {
  const texts = params.getAll("do").flatMap((part) => part.split(/[,;\n]/));
  const found = texts.map(parseAction).filter((pair) => pair !== null).slice(0, 20);
  const hold = (params.get("hold") ?? "").split(",").filter((name) => /^[A-Za-z_]\w*$/.test(name)).slice(0, 20);
  return { actions: Object.fromEntries(found), hold };
}
