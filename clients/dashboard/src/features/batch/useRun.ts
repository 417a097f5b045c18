import { useCallback, useEffect, useRef, useState } from "react";
import { isCancelled } from "../../api/problem";
import { type Asked, type Head, answers } from "./stream";
import type { Answered, Failed } from "./table";

export interface Run {
  state: "idle" | "running" | "done" | "cancelled";
  head: Head | null;
  rows: Answered[];
  failed: Failed[];
  /** Galaxies of the files that were opened; more files may follow. */
  total: number;
  file: number;
  files: number;
  started: number;
  finished: number;
  /** Files that were refused as a whole, or whose answer ended early. */
  problems: { file: string; error: unknown }[];
}

const IDLE: Run = {
  state: "idle", head: null, rows: [], failed: [], total: 0, file: 0, files: 0, started: 0, finished: 0, problems: [],
};
/** Milliseconds between two drawings: lines may come faster than a table is drawn. */
const DRAW_MS = 250;

/** Asks about all galaxies of some files, one file after the other. */
export function useRun() {
  const [run, setRun] = useState<Run>(IDLE);
  const abort = useRef<AbortController | null>(null);

  useEffect(() => () => abort.current?.abort(), []);

  const start = useCallback(async (files: File[], asked: Asked) => {
    abort.current?.abort();
    const own = new AbortController();
    abort.current = own;
    let now: Run = { ...IDLE, rows: [], failed: [], state: "running", files: files.length, started: performance.now() };
    let drawn = 0;
    const draw = (change: Partial<Run>, must = false) => {
      now = { ...now, ...change };
      if (own.signal.aborted && abort.current !== own) return;
      if (must || performance.now() - drawn > DRAW_MS) {
        drawn = performance.now();
        // New arrays only when drawn: one for each line would be quadratic.
        setRun({ ...now, rows: [...now.rows], failed: [...now.failed] });
      }
    };
    draw({}, true);
    for (const [index, file] of files.entries()) {
      if (own.signal.aborted) break;
      draw({ file: index + 1 }, true);
      try {
        for await (const line of answers(file, asked, own.signal)) {
          if (line.kind === "catalogue") draw({ head: now.head ?? line, total: now.total + line.rows }, true);
          else if (line.kind === "row") now.rows.push({ ...line, file: file.name });
          else if (line.kind === "refused") now.failed.push({ ...line, file: file.name });
          draw({});
        }
      } catch (error) {
        if (isCancelled(error) || own.signal.aborted) break;
        draw({ problems: [...now.problems, { file: file.name, error }] }, true);
      }
    }
    draw({ state: own.signal.aborted ? "cancelled" : "done", finished: performance.now() }, true);
  }, []);

  const cancel = useCallback(() => abort.current?.abort(), []);
  return { run, start, cancel };
}

/** Seconds until the galaxies of the open files are answered; null before that can be said. */
export function secondsLeft(run: Run, now: number): number | null {
  const done = run.rows.length + run.failed.length;
  const spent = (now - run.started) / 1000;
  if (run.state !== "running" || done < 3 || spent < 1) return null;
  return (spent / done) * Math.max(0, run.total - done);
}
