import { Stack, Text } from "@mantine/core";
import type { ReactNode } from "react";

/** What is shown where there is nothing yet, and what would change that. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <Stack gap={4} align="center" justify="center" py="lg" mih={120} role="status">
      <Text fw={500} ta="center">{title}</Text>
      {children && <Text size="sm" c="dimmed" ta="center" maw={460}>{children}</Text>}
    </Stack>
  );
}
