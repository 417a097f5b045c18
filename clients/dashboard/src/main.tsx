import "@mantine/core/styles.css";
import "./page.css";
import { MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { RouterProvider } from "react-router/dom";
import { ProblemError } from "./api/problem";
import { router } from "./router";
import { theme } from "./theme";

const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 60_000,
      refetchOnWindowFocus: false,
      // What the server refused once it refuses again; what it had no time for, it may do now.
      retry: (count, error) => count < 2 && (!(error instanceof ProblemError) || error.document.status >= 502),
    },
  },
});

// Styles that are made while the page runs carry the number that the server put here.
const nonce = document.querySelector<HTMLMetaElement>("meta[property=csp-nonce]")?.nonce;

// The name under which libraries that know nothing of Mantine look for it.
Object.assign(globalThis, { __webpack_nonce__: nonce });

const root = document.getElementById("root");
if (root === null) throw new Error("no #root");
createRoot(root).render(
  <StrictMode>
    <MantineProvider theme={theme} defaultColorScheme="auto" {...(nonce ? { getStyleNonce: () => nonce } : {})}>
      <QueryClientProvider client={client}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);
