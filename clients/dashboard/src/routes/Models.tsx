import { Badge, Code, Group, Paper, Select, SimpleGrid, Skeleton, Spoiler, Stack, Table, Text, Title } from "@mantine/core";
import { useSearchParams } from "react-router";
import { ProblemError } from "../api/problem";
import { Empty } from "../components/Empty";
import { Panel } from "../components/Panel";
import { ProblemAlert } from "../components/ProblemAlert";
import { factsOf } from "../features/models/facts";
import { type Listed, useDetail, useEvaluation, useModels } from "../features/models/queries";
import { Report } from "../features/models/Report";

const nameOf = (model: Listed) => `${model.name}@${model.version}`;

export function Component() {
  const models = useModels();
  const [params, setParams] = useSearchParams();
  const found = models.data ?? [];
  const chosen = found.find((model) => nameOf(model) === params.get("model")) ?? found.find((model) => model.default) ?? found[0];
  return (
    <Stack gap="md">
      <Group justify="space-between" align="flex-end">
        <div>
          <Title order={2} size="h3">Models</Title>
          <Text size="sm" c="dimmed">What is loaded, how it was made, and how far its answers can be trusted.</Text>
        </div>
        {found.length > 1 && chosen && (
          <Select
            label="Model" allowDeselect={false} data={found.map(nameOf)} value={nameOf(chosen)}
            onChange={(value) => value && setParams({ model: value }, { replace: true })}
          />
        )}
      </Group>
      {models.error && <ProblemAlert error={models.error} retry={() => void models.refetch()} />}
      {models.isPending && <Skeleton h={180} aria-label="Models are loading" />}
      {models.data && found.length === 0 && <Empty title="No model is loaded">Start the service with one: acie serve --model galaxy-v1.</Empty>}
      {chosen && <Model key={chosen.digest + chosen.version} model={chosen} />}
    </Stack>
  );
}

function Model({ model }: { model: Listed }) {
  const evaluation = useEvaluation(model);
  return (
    <>
      <Facts model={model} />
      <Title order={3} size="h4">Evaluation</Title>
      {evaluation.error && <ProblemAlert error={evaluation.error} retry={() => void evaluation.refetch()} />}
      {evaluation.isPending && <Skeleton h={400} aria-label="The evaluation is loading" />}
      {evaluation.data instanceof ProblemError && (
        <Paper withBorder><Empty title="This model has no evaluation">{evaluation.data.document.remedy}</Empty></Paper>
      )}
      {evaluation.data && !(evaluation.data instanceof ProblemError) && <Report of={evaluation.data} />}
    </>
  );
}

function Facts({ model }: { model: Listed }) {
  const detail = useDetail(model);
  const rows = detail.data ? factsOf(detail.data) : [];
  return (
    <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="md">
      <Panel
        title={nameOf(model)}
        aside={
          <Group gap={4}>
            {model.default && <Badge variant="filled">default</Badge>}
            {model.latest && <Badge variant="light">latest</Badge>}
            {model.aliases.map((alias) => <Badge key={alias} variant="light" color="grape" tt="none">{alias}</Badge>)}
          </Group>
        }
      >
        <Text size="xs" c="dimmed">SHA-256 <Code style={{ overflowWrap: "anywhere" }}>{model.digest}</Code></Text>
        {detail.error && <ProblemAlert error={detail.error} retry={() => void detail.refetch()} />}
        {detail.isPending && <Skeleton h={160} mt="sm" aria-label="Facts are loading" />}
        {rows.length > 0 && (
          <Table fz="sm" verticalSpacing={4} mt="xs">
            <Table.Tbody>
              {rows.map(([name, value]) => (
                <Table.Tr key={name}>
                  <Table.Th scope="row" fw={500} w="45%">{name}</Table.Th>
                  <Table.Td>{value}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        )}
      </Panel>
      <Panel title="Model card">
        {detail.isPending && <Skeleton h={160} />}
        {detail.data && (detail.data.card === null
          ? <Empty title="This model has no card">A file MODEL_CARD.md in its folder would be shown here.</Empty>
          : <Card text={detail.data.card} />)}
      </Panel>
    </SimpleGrid>
  );
}

/** The card: paragraphs and headings of its Markdown, nothing else is interpreted. */
function Card({ text }: { text: string }) {
  const blocks = text.split(/\n\s*\n/).filter((block) => block.trim());
  return (
    <Spoiler maxHeight={330} showLabel="Show all" hideLabel="Show less">
      <Stack gap="xs">
        {blocks.map((block, i) => {
          const heading = /^#+\s+(.*)$/.exec(block);
          if (heading) return <Text key={i} fw={600} size="sm">{heading[1]}</Text>;
          return (
            <Text key={i} size="sm" style={{ whiteSpace: /^(?:[-*] |\|)/m.test(block) ? "pre-wrap" : undefined, overflowWrap: "anywhere" }}>
              {block.split(/(\*\*[^*]+\*\*|`[^`]+`)/).map((part, k) =>
                part.startsWith("**") ? <b key={k}>{part.slice(2, -2)}</b> : part.startsWith("`") ? <Code key={k}>{part.slice(1, -1)}</Code> : part)}
            </Text>
          );
        })}
      </Stack>
    </Spoiler>
  );
}
