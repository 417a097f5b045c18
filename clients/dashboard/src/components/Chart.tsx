import { Box, VisuallyHidden } from "@mantine/core";
import type { ReactElement } from "react";
import { ResponsiveContainer } from "recharts";
import { FIRST } from "./chartStyle";

interface Props {
  /** What the picture says, for those who do not see it. */
  label: string;
  height?: number;
  children: ReactElement;
}

/** A picture of the width of its place, with words in its stead for screen readers. */
export function Chart({ label, height = 220, children }: Props) {
  return (
    <Box component="figure" m={0} style={{ minWidth: 0 }}>
      <VisuallyHidden component="figcaption">{label}</VisuallyHidden>
      <ResponsiveContainer width="100%" height={height} initialDimension={{ ...FIRST, height }} debounce={50}>
        {children}
      </ResponsiveContainer>
    </Box>
  );
}
