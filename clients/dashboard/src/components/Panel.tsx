import { Box, Group, Paper, Text, Title } from "@mantine/core";
import { type ReactNode, useId } from "react";

interface Props {
  title: string;
  /** What is seen, in one sentence: screen readers get it too. */
  about?: string;
  aside?: ReactNode;
  children: ReactNode;
}

/** A part of a page with a heading. */
export function Panel({ title, about, aside, children }: Props) {
  const id = useId();
  return (
    <Paper component="section" withBorder p="md" aria-labelledby={id} style={{ minWidth: 0 }}>
      <Group justify="space-between" align="flex-start" gap="xs" mb={about ? 2 : "xs"}>
        <Title order={3} size="h5" id={id}>{title}</Title>
        {aside}
      </Group>
      {about && <Text size="xs" c="dimmed" mb="xs">{about}</Text>}
      <Box>{children}</Box>
    </Paper>
  );
}
