import { type Schemas, ask } from "../../api/client";

export type Head = Schemas["CatalogueBody"];
export type Row = Schemas["RowBody"];
export type Refused = Schemas["RefusedBody"];
export type Line = Head | Row | Refused | Schemas["EndBody"];

export interface Asked {
  intervention: string[];
  hold: string[];
  samples: number;
}

/** The lines of a stream of JSON lines, as they arrive. */
export async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Line> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
      const parts = rest.split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) if (part) yield JSON.parse(part) as Line;
      if (done) break;
    }
    if (rest.trim()) yield JSON.parse(rest) as Line;
  } finally {
    // Whoever stops reading ends the work on the server too.
    reader.cancel().catch(() => undefined);
  }
}

/** Thrown where a stream ends before its last line. */
export class Interrupted extends Error {
  constructor(file: string) {
    super(`The answer about ${file} ended early: the server stopped, or the connection broke. What arrived is kept.`);
    this.name = "Interrupted";
  }
}

/** Asks about every galaxy of a file; lines come as galaxies are answered. */
export async function* answers(file: File, asked: Asked, signal: AbortSignal): AsyncGenerator<Line> {
  const query = new URLSearchParams({ name: file.name.slice(-200), samples: String(asked.samples) });
  for (const text of asked.intervention) query.append("intervention", text);
  for (const name of asked.hold) query.append("hold", name);
  const headers = { "Content-Type": "application/octet-stream", Accept: "application/x-ndjson" };
  const response = await ask(`/api/v2/inference/catalogue?${query}`, { method: "POST", headers, body: file, signal });
  if (response.body === null) throw new Interrupted(file.name);
  let whole = false;
  for await (const line of linesOf(response.body)) {
    whole = line.kind === "end";
    yield line;
  }
  if (!whole) throw new Interrupted(file.name);
}
