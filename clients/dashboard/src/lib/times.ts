/** Times and shares as people read them. */
import { number } from "./format";

/** Milliseconds, or seconds from one on. */
export function milliseconds(ms: number | null): string {
  if (ms === null) return "–";
  return ms >= 1000 ? `${number(ms / 1000)} s` : `${number(ms, ms < 10 ? 2 : 3)} ms`;
}

/** Seconds in the largest two units. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return m < 10 && s % 60 ? `${m} min ${s % 60} s` : `${m} min`;
  const h = Math.floor(m / 60);
  if (h < 48) return m % 60 ? `${h} h ${m % 60} min` : `${h} h`;
  return `${Math.floor(h / 24)} days`;
}

/** A share in per cent. */
export function share(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return "–";
  const percent = 100 * value;
  return `${percent !== 0 && Math.abs(percent) < 1 ? percent.toFixed(1) : Math.round(percent)}\u00a0%`;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "short" });

/** Time of day of seconds since 1970. */
export function clock(seconds: number): string {
  return CLOCK.format(seconds * 1000);
}

/** Time of day, and the day where it is not today. */
export function moment(text: string, now = new Date()): string {
  const when = new Date(text);
  const time = CLOCK.format(when);
  return when.toDateString() === now.toDateString() ? time : `${DAY.format(when)} ${time}`;
}
