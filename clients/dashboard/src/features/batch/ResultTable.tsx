import { Badge, Button, Group, MultiSelect, NumberInput, Pagination, SegmentedControl, Table, Text, TextInput, UnstyledButton } from "@mantine/core";
import { useDeferredValue, useMemo, useState } from "react";
import { Empty } from "../../components/Empty";
import { Panel } from "../../components/Panel";
import { number, unit, words } from "../../lib/format";
import { FLAGS } from "../../lib/quality";
import { save } from "../../lib/download";
import { share } from "../../lib/times";
import { label } from "./Effects";
import {
  type Answered, type Failed, type Quantity, type Sort, type Wanted, after, before, columnsOf, effect, effectUnit, filtered, sorted, toCsv, toParquet,
} from "./table";

const PAGE = 25;
const ALL: Wanted = { text: "", flags: "all", confidence: 0 };

interface Props {
  rows: Answered[];
  failed: Failed[];
  quantities: Quantity[];
}

/** The answers, one galaxy a row. */
export function ResultTable({ rows, failed, quantities }: Props) {
  const moved = quantities.filter((one) => one.moved);
  const usual = (moved.length > 0 ? moved : quantities).slice(0, 3).map((one) => one.name);
  const [picked, setPicked] = useState<string[] | null>(null);
  const [sort, setSort] = useState<Sort>({ by: "id", down: false });
  const [wanted, setWanted] = useState<Wanted>(ALL);
  const [page, setPage] = useState(1);
  const late = useDeferredValue(wanted);
  const shown = (picked ?? [...usual, ...(moved.length > 0 ? ["dn4000"] : [])]).flatMap((name) => quantities.find((one) => one.name === name) ?? []);
  const found = useMemo(() => sorted(filtered(rows, late), sort, quantities), [rows, late, sort, quantities]);
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  const at = Math.min(page, pages);
  const by = (name: string) => () => {
    setSort((old) => ({ by: name, down: old.by === name ? !old.down : name !== "id" }));
    setPage(1);
  };
  const change = (part: Partial<Wanted>) => {
    setWanted((old) => ({ ...old, ...part }));
    setPage(1);
  };
  const headings: [string, string][] = [["id", "Galaxy"], ["redshift", "z"], ["confidence", "Confidence"], ["flags", "Flags"]];
  return (
    <Panel title="Galaxies" aside={<Downloads rows={rows} failed={failed} quantities={quantities} />}>
      <Group gap="xs" mb="sm" align="flex-end" role="search" aria-label="Filters of galaxies">
        <TextInput size="xs" w={180} label="Name or flag" value={wanted.text} onChange={(event) => change({ text: event.currentTarget.value })} />
        <SegmentedControl
          size="xs" aria-label="Flags" value={wanted.flags} onChange={(value) => change({ flags: value as Wanted["flags"] })}
          data={[{ value: "all", label: "All" }, { value: "clean", label: "Unflagged" }, { value: "flagged", label: "Flagged" }]}
        />
        <NumberInput size="xs" w={120} label="Confidence from" min={0} max={1} step={0.05} value={wanted.confidence} onChange={(value) => change({ confidence: typeof value === "number" ? value : 0 })} />
        <MultiSelect
          size="xs" miw={200} style={{ flex: "1 1 200px" }} label="Columns" searchable value={shown.map((one) => one.name)} onChange={setPicked}
          data={quantities.map((one) => ({ value: one.name, label: label(one) }))}
        />
      </Group>
      {found.length === 0 ? (
        <Empty title={rows.length === 0 ? "No galaxy is answered yet" : "No galaxy fits these filters"} />
      ) : (
        <Table.ScrollContainer minWidth={480 + 150 * shown.length} type="native" tabIndex={0} aria-label="Answers">
          <Table fz="sm" verticalSpacing={4} striped highlightOnHover>
            <Table.Thead>
              <Table.Tr>
                {headings.map(([name, text]) => <Heading key={name} name={name} text={text} sort={sort} onClick={by(name)} />)}
                {shown.map((one) => <Heading key={one.name} name={one.name} text={label(one)} note={`now → then${one.unit ? `, ${unit(one.unit)}` : ""}`} sort={sort} onClick={by(one.name)} />)}
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {found.slice((at - 1) * PAGE, at * PAGE).map((row) => <Galaxy key={`${row.file}/${row.row}`} row={row} shown={shown} />)}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
      <Group justify="space-between" mt="sm">
        <Text size="xs" c="dimmed" role="status">{found.length} of {rows.length} galaxies; a heading sorts by the effect.</Text>
        {pages > 1 && <Pagination size="sm" total={pages} value={at} onChange={setPage} getControlProps={(control) => ({ "aria-label": `${control} page` })} />}
      </Group>
    </Panel>
  );
}

interface HeadingProps {
  name: string;
  text: string;
  note?: string;
  sort: Sort;
  onClick: () => void;
}

function Heading({ name, text, note, sort, onClick }: HeadingProps) {
  const own = sort.by === name;
  return (
    <Table.Th scope="col" aria-sort={own ? (sort.down ? "descending" : "ascending") : "none"}>
      <UnstyledButton onClick={onClick} fz="sm" fw={700} style={{ whiteSpace: "nowrap" }}>
        {text}<span aria-hidden>{own ? (sort.down ? " ↓" : " ↑") : " ↕"}</span>
      </UnstyledButton>
      {note && <Text size="xs" c="dimmed" fw={400}>{note}</Text>}
    </Table.Th>
  );
}

function Galaxy({ row, shown }: { row: Answered; shown: Quantity[] }) {
  return (
    <Table.Tr>
      <Table.Th scope="row" fw={500} title={row.file}>{row.id}</Table.Th>
      <Table.Td>{number(row.redshift, 4)}</Table.Td>
      <Table.Td>{share(row.confidence)}</Table.Td>
      <Table.Td maw={220}>
        {row.quality.map((flag) => <Badge key={flag} size="xs" mr={4} variant="outline" color="yellow" title={FLAGS[flag]}>{words(flag.toLowerCase())}</Badge>)}
      </Table.Td>
      {shown.map((one) => <Change key={one.name} row={row} of={one} />)}
    </Table.Tr>
  );
}

function Change({ row, of }: { row: Answered; of: Quantity }) {
  const [a, b, by] = [before(row, of), after(row, of), effect(row, of)];
  if (a === null || b === null) return <Table.Td c="dimmed">–</Table.Td>;
  // Effects on what is additive are small beside it.
  const digits = of.logarithmic ? 3 : 4;
  return (
    <Table.Td style={{ whiteSpace: "nowrap" }}>
      {number(a, digits)} → {number(b, digits)}
      {by !== null && Math.abs(by) > 0 && <Text size="xs" c="dimmed">{by > 0 ? "+" : ""}{number(by)} {unit(effectUnit(of))}</Text>}
    </Table.Td>
  );
}

function Downloads({ rows, failed, quantities }: Props) {
  const none = rows.length + failed.length === 0;
  const columns = () => columnsOf(rows, failed, quantities);
  return (
    <Group gap="xs">
      <Button size="compact-sm" variant="default" disabled={none} onClick={() => save(toCsv(columns()), "acie-answers.csv", "text/csv;charset=utf-8")}>CSV</Button>
      <Button
        size="compact-sm" variant="default" disabled={none}
        onClick={() => void toParquet(columns()).then((buffer) => save(buffer, "acie-answers.parquet", "application/vnd.apache.parquet"))}
      >
        Parquet
      </Button>
    </Group>
  );
}

/** Galaxies without an answer, and why. */
export function RefusedTable({ failed }: { failed: Failed[] }) {
  if (failed.length === 0) return null;
  return (
    <Panel title={`Refused: ${failed.length}`} about="These galaxies have no answer; the others are not affected.">
      <Table.ScrollContainer minWidth={420} mah={300} type="native" tabIndex={0} aria-label="Refused galaxies">
        <Table fz="sm" verticalSpacing={4} stickyHeader>
          <Table.Thead><Table.Tr>{["Galaxy", "Kind", "Why"].map((name) => <Table.Th key={name} scope="col">{name}</Table.Th>)}</Table.Tr></Table.Thead>
          <Table.Tbody>
            {failed.map((one) => (
              <Table.Tr key={`${one.file}/${one.row}`}>
                <Table.Th scope="row" fw={500} title={one.file}>{one.id}</Table.Th>
                <Table.Td style={{ whiteSpace: "nowrap" }}>{one.problem.title}</Table.Td>
                <Table.Td>{one.problem.detail}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Panel>
  );
}
