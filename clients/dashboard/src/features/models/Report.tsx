import { Badge, SimpleGrid, Stack, Table, Text } from "@mantine/core";
import { Panel } from "../../components/Panel";
import { number, unit, words } from "../../lib/format";
import { duration, share } from "../../lib/times";
import { Calibration } from "./Calibration";
import type { Evaluation } from "./queries";

const COLOUR = { pass: "teal", fail: "red", open: "yellow" } as const;
const WORD = { pass: "pass", fail: "fail", open: "open: not decided by this many galaxies" } as const;

function Verdicts({ of }: { of: Evaluation }) {
  return (
    <Panel title="Criteria" about="What is asked of a model, what was measured, and what the sampling allows to say.">
      <Table.ScrollContainer minWidth={640} type="native" tabIndex={0} aria-label="Criteria">
        <Table fz="sm" verticalSpacing={4}>
          <Table.Thead>
            <Table.Tr>{["Criterion", "Measured", "Sampling", "Asked for", "Verdict"].map((name) => <Table.Th key={name} scope="col">{name}</Table.Th>)}</Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {of.verdicts.map((row) => (
              <Table.Tr key={row.criterion}>
                <Table.Td>{row.criterion}</Table.Td>
                <Table.Td>{row.measured}</Table.Td>
                <Table.Td c="dimmed">{row.sampling_error}</Table.Td>
                <Table.Td>{row.required}</Table.Td>
                <Table.Td><Badge variant="light" color={COLOUR[row.verdict]} title={WORD[row.verdict]}>{row.verdict}</Badge></Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Panel>
  );
}

const plusMinus = (value: number | null, error: number | null) =>
  value === null ? "–" : `${number(value)}${error === null ? "" : ` ± ${number(error, 2)}`}`;

function Recovery({ of }: { of: Evaluation }) {
  return (
    <Panel title="Recovery" about="Medians against the truth of simulations; gain is the spread of the population over the scatter.">
      <Table.ScrollContainer minWidth={560} type="native" tabIndex={0} aria-label="Recovery">
        <Table fz="sm" verticalSpacing={4}>
          <Table.Thead>
            <Table.Tr>{["Variable", "Unit", "Scatter", "Bias", "68 % covers", "Gain"].map((name) => <Table.Th key={name} scope="col">{name}</Table.Th>)}</Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {Object.entries(of.recovery).map(([name, row]) => (
              <Table.Tr key={name}>
                <Table.Th scope="row" fw={500}>{words(name)}</Table.Th>
                <Table.Td>{unit(row.unit)}</Table.Td>
                <Table.Td>{plusMinus(row.scatter, row.scatter_error)}</Table.Td>
                <Table.Td>{plusMinus(row.bias, row.bias_error)}</Table.Td>
                <Table.Td>{row.coverage_68 === null ? "–" : `${(100 * row.coverage_68).toFixed(1)} %`}</Table.Td>
                <Table.Td>{row.gain === null ? "–" : number(row.gain)}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Panel>
  );
}

interface Asked {
  label: string;
  count: number;
  coverage_spectrum: number | null;
  coverage_effect: number | null;
  coverage_state: number | null;
  error: number | null;
  effect: number | null;
}

function Counterfactuals({ of }: { of: Evaluation }) {
  const rows = (of.counterfactuals ?? []) as unknown as Asked[];
  if (rows.length === 0) return null;
  const off = (value: number | null) => (value !== null && Math.abs(value - 0.68) > 0.03 ? "yellow" : undefined);
  return (
    <Panel title="Counterfactual answers" about="Coverage of 68 % intervals for every question, against worlds that were simulated.">
      <Table.ScrollContainer minWidth={480} mah={420} type="native" tabIndex={0} aria-label="Counterfactual answers">
        <Table fz="sm" verticalSpacing={2} stickyHeader>
          <Table.Thead>
            <Table.Tr>{["Question", "Galaxies", "Spectrum", "Effect", "State"].map((name) => <Table.Th key={name} scope="col">{name}</Table.Th>)}</Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {rows.map((row) => (
              <Table.Tr key={row.label}>
                <Table.Th scope="row" fw={400}>{words(row.label)}</Table.Th>
                <Table.Td>{row.count}</Table.Td>
                {[row.coverage_spectrum, row.coverage_effect, row.coverage_state].map((value, i) => (
                  <Table.Td key={["spectrum", "effect", "state"][i]} c={off(value)} fw={off(value) ? 600 : undefined}>{share(value)}</Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Panel>
  );
}

/** The evaluation of a model. */
export function Report({ of }: { of: Evaluation }) {
  const passed = of.verdicts.filter((row) => row.verdict === "pass").length;
  const range = (name: string) => {
    const pair = of.survey[name] as [number, number] | undefined;
    return pair ? `${number(pair[0])} to ${number(pair[1])}` : "–";
  };
  return (
    <Stack gap="md">
      <Text size="sm">
        <b>{passed} of {of.verdicts.length} criteria passed.</b> Measured on {of.count.toLocaleString("en")} fresh simulations
        at S/N {range("snr")} and redshift {range("redshift")}{of.seconds ? `, in ${duration(of.seconds)}` : ""}, by ACIE {of.acie};
        read from {of.source === "bundle" ? "the model's folder" : "the registry"}.
      </Text>
      <Verdicts of={of} />
      <Calibration of={of} />
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="md">
        <Recovery of={of} />
        <Counterfactuals of={of} />
      </SimpleGrid>
    </Stack>
  );
}
