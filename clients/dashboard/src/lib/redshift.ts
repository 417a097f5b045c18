/** Redshifts as people type them, and as a link carries them. */
import type { GivenRedshift } from "../api/queries";

/** The redshift of a text: null where there is none, undefined where the text is no number. */
export function parseRedshift(text: string): GivenRedshift | undefined {
  const plain = text.trim().toLowerCase();
  if (plain === "") return null;
  if (plain === "estimate") return "estimate";
  const digits = plain.replace(/^z\s*=\s*/, "").replace("−", "-");
  const value = digits === "" ? NaN : Number(digits);
  return Number.isFinite(value) ? value : undefined;
}

/** That of an address; what cannot be read of it is left out. */
export function redshiftOf(params: URLSearchParams): GivenRedshift {
  return parseRedshift(params.get("redshift") ?? "") ?? null;
}

export function withRedshift(params: URLSearchParams, given: GivenRedshift): URLSearchParams {
  if (given === null) params.delete("redshift");
  else params.set("redshift", String(given));
  return params;
}
