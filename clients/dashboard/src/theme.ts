import { createTheme, type MantineColorsTuple } from "@mantine/core";

/** The blue of the factual world; the counterfactual one is ember. */
const sea: MantineColorsTuple = [
  "#edf5fb", "#dae7f2", "#b1cee6", "#86b4da", "#639dcf", "#4d8fc9", "#4088c7", "#3275b0", "#28689f", "#17598c",
];
const ember: MantineColorsTuple = [
  "#ffefe8", "#ffddd2", "#fbbaa5", "#f79474", "#f3744b", "#f16031", "#e0512a", "#d94e1f", "#c2431a", "#a93712",
];

export const theme = createTheme({
  primaryColor: "sea",
  primaryShade: { light: 8, dark: 5 },
  colors: { sea, ember },
  fontFamily: 'Inter, system-ui, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", "DejaVu Sans Mono", Menlo, monospace',
  defaultRadius: "md",
  cursorType: "pointer",
});
