import type { components } from "./schema";

export type ProblemDocument = components["schemas"]["ProblemBody"];

/** A problem document (RFC 9457), or what stands for one where the server could not send any. */
export class ProblemError extends Error {
  readonly document: ProblemDocument;
  /** Seconds after which the server wants to be asked again. */
  readonly retryAfter: number | null;

  constructor(document: ProblemDocument, retryAfter: number | null = null) {
    super(document.detail);
    this.name = "ProblemError";
    this.document = document;
    this.retryAfter = retryAfter;
  }
}

/** The problem of an answer that is none. */
export async function problemOf(response: Response): Promise<ProblemError> {
  const after = Number(response.headers.get("Retry-After"));
  const retryAfter = after > 0 ? after : null;
  try {
    const document = (await response.clone().json()) as ProblemDocument;
    if (typeof document.detail === "string") return new ProblemError(document, retryAfter);
  } catch {
    // Something between the server and us answered: its words would be HTML.
  }
  const title = response.statusText || "The server did not answer as expected";
  return new ProblemError(
    { type: "about:blank", title, status: response.status, detail: `${title} (status ${response.status}).` },
    retryAfter,
  );
}

/** Any error in words for people: a title, what happened, and what to do. */
export function inWords(error: unknown): { title: string; detail: string; remedy: string | null } {
  if (error instanceof ProblemError) {
    const { title, detail, remedy, status } = error.document;
    const later = error.retryAfter === null ? null : `Try again in ${error.retryAfter} s.`;
    const wait = status === 503 || status === 504 || status === 429 ? later : null;
    // Most details end with their remedy already.
    const advice = wait ?? (remedy && !detail.includes(remedy) ? remedy : null);
    return { title, detail, remedy: advice };
  }
  if (error instanceof TypeError) {
    return {
      title: "No connection",
      detail: "The server cannot be reached.",
      remedy: "Check that acie serve is running and that the network works, then try again.",
    };
  }
  return { title: "Something went wrong", detail: String(error), remedy: "Reload the page." };
}

export function isCancelled(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}
