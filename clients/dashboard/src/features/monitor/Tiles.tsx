import { Group, Paper, SimpleGrid, Text } from "@mantine/core";
import { number } from "../../lib/format";
import { duration, milliseconds, share } from "../../lib/times";
import type { Metrics } from "./queries";

interface TileProps {
  label: string;
  value: string;
  note: string;
  alarm?: boolean;
}

function Tile({ label, value, note, alarm = false }: TileProps) {
  return (
    <Paper withBorder p="sm" component="div" style={alarm ? { borderColor: "var(--mantine-color-red-filled)" } : undefined}>
      <Text size="xs" c="dimmed" component="dt">{label}</Text>
      <Text component="dd" m={0} fz="xl" fw={600} lh={1.3} c={alarm ? "red" : undefined} style={{ whiteSpace: "nowrap" }}>
        {value}
      </Text>
      <Text size="xs" c="dimmed" component="dd" m={0}>{note}</Text>
    </Paper>
  );
}

/** The state of the service in six numbers. */
export function Tiles({ metrics }: { metrics: Metrics }) {
  const { requests, latency_ms, queue, cache, database } = metrics;
  // Who went away before the answer is no failure of the service.
  const cancelled = requests.outcomes.cancelled ?? 0;
  const failed = requests.total - (requests.outcomes.ok ?? 0) - cancelled;
  const counts = metrics.confidence.counts;
  const answered = counts.reduce((sum, n) => sum + n, 0);
  return (
    <SimpleGrid cols={{ base: 2, xs: 3, lg: 6 }} spacing="sm" component="dl" m={0}>
      <Tile label="Latency, median" value={milliseconds(latency_ms.p50 ?? null)} note={`99 %: ${milliseconds(latency_ms.p99 ?? null)}`} />
      <Tile label="Questions" value={`${number(requests.per_second)}/s`} note={`${requests.total.toLocaleString("en")} in ${duration(metrics.uptime_s)}`} />
      <Tile
        label="Without an answer" value={share(requests.total ? failed / requests.total : null)}
        note={`${failed.toLocaleString("en")} refused or failed${cancelled ? `, ${cancelled} cancelled` : ""}`} alarm={requests.total >= 20 && failed / requests.total > 0.05}
      />
      <Tile
        label="Queue" value={String(queue.depth ?? 0)} note={`of ${queue.capacity ?? 0} galaxies`}
        alarm={(queue.depth ?? 0) > 0.8 * (queue.capacity ?? Infinity)}
      />
      <Tile label="From the cache" value={share(cache.hit_ratio ?? null)} note={database.healthy ? "log: healthy" : "log: not written"} alarm={!database.healthy} />
      <Tile label="Confidence, median" value={share(medianOf(metrics.confidence.edges, counts))} note={`${answered.toLocaleString("en")} answers in the hour`} />
    </SimpleGrid>
  );
}

/** The median of a histogram whose bins end at `edges`. */
export function medianOf(edges: number[], counts: number[]): number | null {
  const half = counts.reduce((sum, n) => sum + n, 0) / 2;
  if (half === 0) return null;
  let below = 0;
  for (const [i, count] of counts.entries()) {
    if (below + count >= half) {
      const low = i === 0 ? 0 : (edges[i - 1] ?? 0);
      return low + ((half - below) / count) * ((edges[i] ?? low) - low);
    }
    below += count;
  }
  return null;
}

/** Version and age of the process. */
export function Footer({ metrics }: { metrics: Metrics }) {
  const mean = metrics.batches.mean_size;
  return (
    <Group gap="lg">
      <Text size="xs" c="dimmed">ACIE {metrics.version}, up for {duration(metrics.uptime_s)}</Text>
      <Text size="xs" c="dimmed">
        {mean == null ? "Nothing computed yet" : `${number(mean)} galaxies in a batch on average`}
      </Text>
      {Object.entries(metrics.stages_ms).map(([stage, ms]) => (
        <Text key={stage} size="xs" c="dimmed">{stage} {milliseconds(ms)}</Text>
      ))}
    </Group>
  );
}
