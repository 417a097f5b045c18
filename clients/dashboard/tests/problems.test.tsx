// @vitest-environment jsdom
import "./browser";
import { MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { act, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, it, vi } from "vitest";
import { ProblemError, inWords, problemOf } from "../src/api/problem";
import { session } from "../src/api/session";
import { ErrorBoundary } from "../src/components/ErrorBoundary";
import { SignIn } from "../src/components/SignIn";

const document_ = { type: "urn:acie:problem:overloaded", title: "Overloaded", status: 503, detail: "The queue is full." };

it("says a problem document in its own words, and when to come back", async () => {
  const response = new Response(JSON.stringify(document_), { status: 503, headers: { "Retry-After": "3" } });
  const problem = await problemOf(response);
  expect(inWords(problem)).toEqual({ title: "Overloaded", detail: "The queue is full.", remedy: "Try again in 3 s." });
});

it("says something where a proxy answered, or nobody", async () => {
  const problem = await problemOf(new Response("<html>", { status: 502, statusText: "Bad Gateway" }));
  expect(inWords(problem).detail).toBe("Bad Gateway (status 502).");
  expect(inWords(new TypeError("Failed to fetch")).title).toBe("No connection");
});

it("keeps a failing part from taking the page with it", () => {
  // React tells the console too; here that is expected.
  const told = vi.spyOn(console, "error").mockImplementation(() => undefined);
  const Broken = (): never => {
    throw new ProblemError(document_);
  };
  render(<MantineProvider><ErrorBoundary><Broken /></ErrorBoundary></MantineProvider>);
  expect(screen.getByRole("alert").textContent).toContain("The queue is full.");
  expect(told).toHaveBeenCalled();
  told.mockRestore();
});

it("asks for a token when it is refused, keeps it for the session, and sends it", async () => {
  render(
    <MantineProvider><QueryClientProvider client={new QueryClient()}><SignIn /></QueryClientProvider></MantineProvider>,
  );
  act(() => session.refuse());
  await userEvent.type(await screen.findByLabelText("Token or API key"), " acie_secret ");
  await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
  expect(sessionStorage.getItem("acie.token")).toBe("acie_secret");
  expect(session.headers()).toEqual({ "X-API-Key": "acie_secret" });
  act(() => session.signIn("a.b.c"));
  expect(session.headers()).toEqual({ Authorization: "Bearer a.b.c" });
  act(() => session.signOut());
  expect(session.headers()).toEqual({});
});
