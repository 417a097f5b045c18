import { Group, SegmentedControl, SimpleGrid, Skeleton, Stack, Switch, Text, Title } from "@mantine/core";
import { useDocumentVisibility } from "@mantine/hooks";
import { useState } from "react";
import { Panel } from "../components/Panel";
import { ProblemAlert } from "../components/ProblemAlert";
import { ConfidenceHistogram, Drift, TimeCharts } from "../features/monitor/Charts";
import { LoadedModels } from "../features/monitor/LoadedModels";
import { Log } from "../features/monitor/Log";
import { useHistory, useMetrics } from "../features/monitor/queries";
import { Footer, Tiles } from "../features/monitor/Tiles";
import { clock } from "../lib/times";

const WINDOWS = [
  { value: "300", label: "5 min" },
  { value: "900", label: "15 min" },
  { value: "3600", label: "1 h" },
];

export function Component() {
  const [window_s, setWindow] = useState("900");
  const [live, setLive] = useState(true);
  const visible = useDocumentVisibility() === "visible";
  const metrics = useMetrics(live);
  const history = useHistory(Number(window_s), live);
  const error = metrics.error ?? history.error;
  const seen = metrics.dataUpdatedAt ? `as of ${clock(metrics.dataUpdatedAt / 1000)}` : error ? "not reached" : "loading";
  return (
    <Stack gap="md">
      <Group justify="space-between" align="flex-end">
        <div>
          <Title order={2} size="h3">Monitor</Title>
          <Text size="sm" c="dimmed">This process, {seen}{live && visible ? ", every 5 s" : ", paused"}.</Text>
        </div>
        <Group gap="sm">
          <SegmentedControl size="xs" data={WINDOWS} value={window_s} onChange={setWindow} aria-label="Time shown" />
          <Switch label="Live" checked={live} onChange={(event) => setLive(event.currentTarget.checked)} />
        </Group>
      </Group>
      {error && (
        <ProblemAlert
          error={error}
          retry={() => {
            void metrics.refetch();
            void history.refetch();
          }}
        />
      )}
      {metrics.data ? <Tiles metrics={metrics.data} /> : !error && <Skeleton h={90} aria-label="Numbers are loading" />}
      <SimpleGrid cols={{ base: 1, md: 2, xl: 3 }} spacing="md">
        {(history.data || !error) && <TimeCharts history={history.data} />}
        {metrics.data && (
          <>
            <Panel title="Confidence of the last hour" about="Answers by their importance-sampling efficiency."><ConfidenceHistogram metrics={metrics.data} /></Panel>
            <Panel title="Drift" about="Posteriors against the training population: 0.1 is worth a look, 0.25 means other galaxies."><Drift metrics={metrics.data} /></Panel>
            <LoadedModels metrics={metrics.data} />
          </>
        )}
      </SimpleGrid>
      <Log live={live} models={[...new Set((metrics.data?.models ?? []).map((model) => String(model.name)))]} />
      {metrics.data && <Footer metrics={metrics.data} />}
    </Stack>
  );
}
