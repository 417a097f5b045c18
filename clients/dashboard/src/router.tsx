import { Loader } from "@mantine/core";
import { createBrowserRouter } from "react-router";
import { RouteError } from "./components/RouteError";
import { Shell } from "./components/Shell";

// Every page is a chunk of its own, so that looking at a spectrum does not load the charts of Monitor.
export const router = createBrowserRouter(
  [
    {
      element: <Shell />,
      errorElement: <RouteError />,
      hydrateFallbackElement: <Loader m="xl" aria-label="Loading" />,
      children: [
        { index: true, lazy: () => import("./routes/Explore") },
        { path: "batch", lazy: () => import("./routes/Batch") },
        { path: "monitor", lazy: () => import("./routes/Monitor") },
        { path: "models", lazy: () => import("./routes/Models") },
      ],
    },
  ],
  { basename: "/dashboard" },
);
