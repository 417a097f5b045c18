import { Alert, Button, Group, Text } from "@mantine/core";
import { inWords } from "../api/problem";

interface Props {
  error: unknown;
  retry?: () => void;
}

/** An error in words, read out by screen readers. */
export function ProblemAlert({ error, retry }: Props) {
  const { title, detail, remedy } = inWords(error);
  return (
    <Alert color="red" title={title} role="alert" variant="light">
      <Text size="sm" style={{ overflowWrap: "anywhere" }}>{detail}</Text>
      {remedy && <Text size="sm" mt={4} fw={500}>{remedy}</Text>}
      {retry && (
        <Group mt="xs">
          <Button size="compact-sm" variant="outline" color="red" onClick={retry}>Try again</Button>
        </Group>
      )}
    </Alert>
  );
}
