import { Badge, Button, Group, Loader, MultiSelect, NumberInput, Select, Table, Text, TextInput, Tooltip } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useState } from "react";
import { Empty } from "../../components/Empty";
import { Panel } from "../../components/Panel";
import { ProblemAlert } from "../../components/ProblemAlert";
import { number, words } from "../../lib/format";
import { FLAGS } from "../../lib/quality";
import { milliseconds, moment, share } from "../../lib/times";
import { type Filters, type Inference, NO_FILTERS, useInferences } from "./queries";

const SINCE = [
  { value: "5", label: "last 5 minutes" },
  { value: "60", label: "last hour" },
  { value: "1440", label: "last day" },
];

/** What was asked of late, and what came of it. */
export function Log({ live, models }: { live: boolean; models: string[] }) {
  const [filters, setFilters] = useState<Filters>(NO_FILTERS);
  const [settled] = useDebouncedValue(filters, 300);
  // New records would push away what somebody reads further down: then the list stands still.
  const [further, setFurther] = useState(false);
  const { data, error, isFetching, fetchNextPage, hasNextPage, isFetchingNextPage, refetch } = useInferences(settled, live && !further);
  const found = data?.pages.flatMap((page) => page.inferences) ?? [];
  const filtered = JSON.stringify(filters) !== JSON.stringify(NO_FILTERS);

  function change(part: Partial<Filters>) {
    setFurther(false);
    setFilters((before) => ({ ...before, ...part }));
  }

  return (
    <Panel
      title="Recent questions"
      about="The newest first; records appear within about a second. Without the scope admin, one's own."
      aside={isFetching ? <Loader size="xs" aria-label="Loading" /> : undefined}
    >
      <FilterRow filters={filters} models={models} onChange={change} onClear={filtered ? () => change(NO_FILTERS) : null} />
      {error && <ProblemAlert error={error} retry={() => void refetch()} />}
      {!error && data && found.length === 0 && (
        <Empty title={filtered ? "Nothing fits these filters" : "Nothing was asked yet"}>
          {filtered ? "Widen or clear them." : "Questions of any transport appear here."}
        </Empty>
      )}
      {found.length > 0 && (
        <Table.ScrollContainer minWidth={760} type="native" aria-label="Recent questions" tabIndex={0}>
          <Table striped highlightOnHover verticalSpacing={4} fz="sm" aria-live="off">
            <Table.Thead>
              <Table.Tr>
                {["Time", "Question", "Result", "Latency", "Confidence", "z", "Flags", "Model", "By"].map((name) => (
                  <Table.Th key={name} scope="col">{name}</Table.Th>
                ))}
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>{found.map((one) => <Entry key={one.id} one={one} />)}</Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
      {hasNextPage && (
        <Group justify="center" mt="sm">
          <Button
            variant="default" size="compact-sm" loading={isFetchingNextPage}
            onClick={() => {
              setFurther(true);
              void fetchNextPage();
            }}
          >
            Show older ones
          </Button>
          {further && live && <Text size="xs" c="dimmed">The list stands still while older ones are shown. <Button variant="subtle" size="compact-xs" onClick={() => setFurther(false)}>Follow again</Button></Text>}
        </Group>
      )}
    </Panel>
  );
}

interface RowProps {
  filters: Filters;
  models: string[];
  onChange: (part: Partial<Filters>) => void;
  onClear: (() => void) | null;
}

function FilterRow({ filters, models, onChange, onClear }: RowProps) {
  const size = "xs";
  return (
    <Group gap="xs" mb="sm" align="flex-end" role="search" aria-label="Filters of recent questions">
      <Select
        size={size} w={120} label="Result" placeholder="any" clearable data={[{ value: "ok", label: "answered" }, { value: "error", label: "not answered" }]}
        value={filters.status} onChange={(value) => onChange({ status: value as Filters["status"] })}
      />
      <Select
        size={size} w={140} label="Time" placeholder="all" clearable data={SINCE}
        value={filters.minutes === null ? null : String(filters.minutes)}
        onChange={(value) => onChange({ minutes: value === null ? null : Number(value) })}
      />
      <Select size={size} w={140} label="Model" placeholder="any" clearable data={models} value={filters.model || null} onChange={(value) => onChange({ model: value ?? "" })} />
      <NumberInput
        size={size} w={120} label="Confidence from" placeholder="any" min={0} max={1} step={0.05} decimalScale={3}
        value={filters.min_confidence ?? ""} onChange={(value) => onChange({ min_confidence: typeof value === "number" ? Math.min(1, Math.max(0, value)) : null })}
      />
      <MultiSelect
        size={size} miw={160} label="Flags, any of" placeholder={filters.quality.length ? "" : "all"} clearable
        data={Object.keys(FLAGS).map((flag) => ({ value: flag, label: words(flag.toLowerCase()) }))}
        value={filters.quality} onChange={(quality) => onChange({ quality })}
      />
      <TextInput size={size} w={170} label="Request id" value={filters.request_id} maxLength={200} onChange={(event) => onChange({ request_id: event.currentTarget.value })} />
      {onClear && <Button size={size} variant="subtle" onClick={onClear}>Clear</Button>}
    </Group>
  );
}

/** `OutsideSupport` as words. */
export function errorInWords(name: string | null): string {
  return (name ?? "error").replace(/(.)Error$/, "$1").replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
}

function Entry({ one }: { one: Inference }) {
  const good = one.status === "ok";
  return (
    <Table.Tr>
      <Table.Td style={{ whiteSpace: "nowrap" }}>{moment(one.time)}</Table.Td>
      <Table.Td maw={260}>
        <Text size="sm" ff="monospace" truncate title={one.intervention || "no intervention"}>{one.intervention || "state only"}</Text>
        {one.hold && <Text size="xs" c="dimmed" truncate>hold {one.hold}</Text>}
      </Table.Td>
      <Table.Td>
        <Badge size="sm" variant="light" tt="none" color={good ? "teal" : one.error === "CancelledError" ? "gray" : "red"} title={`request ${one.request_id}`}>
          {good ? (one.cached ? "cached" : "answered") : errorInWords(one.error)}
        </Badge>
      </Table.Td>
      <Table.Td style={{ whiteSpace: "nowrap" }}>{milliseconds(one.latency_ms)}</Table.Td>
      <Table.Td>{share(one.confidence)}</Table.Td>
      <Table.Td>{one.redshift === null ? "–" : number(one.redshift)}</Table.Td>
      <Table.Td maw={180}>
        {one.quality.map((flag) => (
          <Tooltip key={flag} label={FLAGS[flag] ?? flag} multiline maw={280} events={{ hover: true, focus: true, touch: true }}>
            <Badge size="xs" variant="outline" color="yellow" mr={4} tabIndex={0}>{words(flag.toLowerCase())}</Badge>
          </Tooltip>
        ))}
      </Table.Td>
      <Table.Td>{one.model.name ? `${one.model.name}@${one.model.version}` : "–"}</Table.Td>
      <Table.Td style={{ whiteSpace: "nowrap" }}>{one.transport}, {one.principal}</Table.Td>
    </Table.Tr>
  );
}
