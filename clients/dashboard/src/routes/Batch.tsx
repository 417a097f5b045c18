import { Stack, Text, Title } from "@mantine/core";
import { useMemo } from "react";
import { Ask } from "../features/batch/Ask";
import { Effects } from "../features/batch/Effects";
import { Progress } from "../features/batch/Progress";
import { RefusedTable, ResultTable } from "../features/batch/ResultTable";
import { quantitiesOf } from "../features/batch/table";
import { useRun } from "../features/batch/useRun";

export function Component() {
  const { run, start, cancel } = useRun();
  const { head, rows, failed } = run;
  const quantities = useMemo(() => (head ? quantitiesOf(head) : []), [head]);
  return (
    <Stack gap="md">
      <div>
        <Title order={2} size="h3">Batch</Title>
        <Text size="sm" c="dimmed">The same question to every galaxy of a catalogue. Galaxies that cannot be answered say why; the others are answered.</Text>
      </div>
      <Ask running={run.state === "running"} onStart={(files, asked) => void start(files, asked)} onCancel={cancel} />
      {run.state !== "idle" && <Progress run={run} />}
      {head && (
        <>
          <Text size="sm" c="dimmed">
            {head.interventions.join(", ") || "No action"}{head.hold.length > 0 && `, hold ${head.hold.join(", ")}`}; {head.samples} draws,
            model {head.model.name}@{head.model.version}
          </Text>
          {rows.length > 0 && <Effects rows={rows} quantities={quantities} />}
          <ResultTable rows={rows} failed={failed} quantities={quantities} />
          <RefusedTable failed={failed} />
        </>
      )}
    </Stack>
  );
}
