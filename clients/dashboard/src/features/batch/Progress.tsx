import { Group, Paper, Progress as Bar, Stack, Text } from "@mantine/core";
import { useEffect, useState } from "react";
import { ProblemAlert } from "../../components/ProblemAlert";
import { number } from "../../lib/format";
import { duration } from "../../lib/times";
import { type Run, secondsLeft } from "./useRun";

/** How far it is, and how long it will take. */
export function Progress({ run }: { run: Run }) {
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    if (run.state !== "running") return undefined;
    const timer = setInterval(() => setNow(performance.now()), 1000);
    return () => clearInterval(timer);
  }, [run.state]);
  const done = run.rows.length + run.failed.length;
  const left = secondsLeft(run, Math.max(now, run.started));
  const spent = ((run.state === "running" ? Math.max(now, run.started) : run.finished) - run.started) / 1000;
  const percent = run.total > 0 ? (100 * done) / run.total : 0;
  const word = { idle: "", running: "Answering", done: "Done", cancelled: "Cancelled" }[run.state];
  return (
    <Stack gap="sm">
      <Paper withBorder p="md">
        <Group justify="space-between" mb={6}>
          <Text size="sm" fw={600} role="status">
            {word}: {done} of {run.total} galaxies{run.failed.length > 0 && `, ${run.failed.length} refused`}
            {run.files > 1 && `, file ${run.file} of ${run.files}`}
          </Text>
          <Text size="sm" c="dimmed">
            {run.state === "running"
              ? run.total === 0 ? "sending the file" : left === null ? "estimating the time left" : `${duration(left)} left`
              : `${duration(spent)}${done > 0 && spent > 0 ? `, ${number(done / spent)} galaxies/s` : ""}`}
          </Text>
        </Group>
        <Bar.Root size="lg">
          <Bar.Section value={percent} aria-label="Galaxies answered" animated={run.state === "running"} color={run.state === "cancelled" ? "gray" : undefined} />
        </Bar.Root>
      </Paper>
      {run.problems.map(({ file, error }) => (
        <div key={file}>
          <Text size="sm" fw={600} mb={4}>{file}</Text>
          <ProblemAlert error={error} />
        </div>
      ))}
    </Stack>
  );
}
