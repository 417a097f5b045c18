import createClient from "openapi-fetch";
import { problemOf } from "./problem";
import type { components, paths } from "./schema";
import { session } from "./session";

export type Schemas = components["schemas"];

/** Sends a request as whoever is signed in; anything but success is thrown as a ProblemError. */
export async function ask(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  const request = new Request(input, init);
  for (const [name, value] of Object.entries(session.headers())) request.headers.set(name, value);
  const response = await fetch(request);
  if (response.ok) return response;
  if (response.status === 401) session.refuse();
  throw await problemOf(response);
}

/** Typed by contracts/openapi.json: `await api.GET("/api/v2/graph")`. Errors are thrown. */
export const api = createClient<paths>({ baseUrl: window.location.origin, fetch: ask });
