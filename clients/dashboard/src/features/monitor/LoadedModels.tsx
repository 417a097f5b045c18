import { Anchor, Badge, Group, Table } from "@mantine/core";
import { Link } from "react-router";
import { Panel } from "../../components/Panel";
import { number } from "../../lib/format";
import type { Metrics } from "./queries";

/** What answers at present. */
export function LoadedModels({ metrics }: { metrics: Metrics }) {
  const models = metrics.models;
  return (
    <Panel title="Models" about="What answers at present, and what it is called in the registry.">
      <Table fz="sm" verticalSpacing={4}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Model</Table.Th>
            <Table.Th scope="col">Aliases</Table.Th>
            <Table.Th scope="col">Largest drift</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {models.map((model) => {
            const drift = Object.values(model.drift);
            return (
              <Table.Tr key={model.digest + model.version}>
                <Table.Td>
                  <Anchor component={Link} size="sm" to={`/models?model=${encodeURIComponent(`${model.name}@${model.version}`)}`}>
                    {model.name}@{model.version}
                  </Anchor>
                </Table.Td>
                <Table.Td>
                  <Group gap={4}>
                    {model.aliases.length === 0 ? "none" : model.aliases.map((alias) => <Badge key={alias} size="sm" variant="light" tt="none">{alias}</Badge>)}
                  </Group>
                </Table.Td>
                <Table.Td>{drift.length === 0 ? "too few galaxies" : number(Math.max(...drift))}</Table.Td>
              </Table.Tr>
            );
          })}
        </Table.Tbody>
      </Table>
    </Panel>
  );
}
