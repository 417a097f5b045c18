import { Button, Code, CopyButton, Group, Menu, Modal, Stack, Tabs, Text, useComputedColorScheme } from "@mantine/core";
import { useClipboard, useDisclosure } from "@mantine/hooks";
import { memo, useState } from "react";
import type uPlot from "uplot";
import { type Answer, type Asked, type Source, type Spectrum, answerFile } from "../../api/queries";
import { ProblemAlert } from "../../components/ProblemAlert";
import { ways } from "../../lib/code";
import { type Question, toParams } from "../../lib/question";
import { picture, save } from "../../lib/save";
import { withLists } from "../../lib/tensors";

/** What is on the page. */
export interface Current {
  spectrum: Spectrum;
  answer: Answer | null;
  asked: Asked;
  question: Question;
  source: Source;
}

interface Props {
  answered: boolean;
  /** Asked for at a click: the menu needs not be drawn again with every answer. */
  current: () => Current;
  plots: () => readonly (uPlot | null)[];
}

/** Links, files and programs that ask the same. */
export const AnswerMenu = memo(function AnswerMenu({ answered, current, plots }: Props) {
  const [code, setCode] = useState<Current | null>(null);
  const [opened, { open, close }] = useDisclosure(false);
  const { copied, copy } = useClipboard();
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const dark = useComputedColorScheme("light") === "dark";

  const run = (work: (of: Current, stem: string) => Promise<void>) => async () => {
    setBusy(true);
    setError(null);
    try {
      const of = current();
      await work(of, of.spectrum.file.replace(/\.\w+$/, "") || "galaxy");
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };

  const fits = run(async ({ spectrum, asked }, stem) => save(await answerFile(spectrum, asked), `${stem}.fits`));
  const json = run(async ({ spectrum, asked, answer }, stem) => {
    const content = { observation: spectrum, question: asked, answer };
    save(new Blob([JSON.stringify(content, withLists)], { type: "application/json" }), `${stem}.json`);
  });
  const png = run(async ({ spectrum, asked, answer }, stem) => {
    const title = `${spectrum.name}   z = ${(answer?.redshift ?? NaN).toFixed(4)}   ${asked.intervention.join(", ") || "as observed"}`;
    save(await picture(plots(), title, dark), `${stem}.png`);
  });

  const link = () => {
    const url = new URL(window.location.href);
    url.search = toParams(current().question, url.searchParams).toString();
    return url.toString();
  };

  return (
    <>
      <Group gap="xs">
        <Button size="compact-sm" variant="default" onClick={() => copy(link())}>{copied ? "Link copied" : "Copy link"}</Button>
        <Menu>
          <Menu.Target><Button size="compact-sm" variant="default" loading={busy} disabled={!answered}>Download ▾</Button></Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={fits}>FITS, as acie infer writes it</Menu.Item>
            <Menu.Item onClick={json}>JSON, with spectrum and draws</Menu.Item>
            <Menu.Item onClick={png}>PNG of the figure</Menu.Item>
          </Menu.Dropdown>
        </Menu>
        <Button size="compact-sm" variant="default" onClick={() => { setCode(current()); open(); }}>As code</Button>
      </Group>
      {error !== null && <ProblemAlert error={error} />}
      <Modal opened={opened} onClose={close} title="The same question, asked elsewhere" size="lg" closeButtonProps={{ "aria-label": "Close" }}>
        {code && <CodeTabs {...code} />}
      </Modal>
    </>
  );
});

function CodeTabs({ spectrum, asked, question, source }: Current) {
  const told = ways({
    file: source.kind === "file" ? source.file.name : spectrum.file, example: source.kind === "example", question,
    row: spectrum.row, rows: spectrum.rows, redshift: asked.redshift, unknown: spectrum.redshift === null,
    samples: asked.samples, seed: asked.seed, origin: window.location.origin,
  });
  const tabs = [
    { key: "commands", label: "Command line", text: told.commands },
    { key: "python", label: "Python", text: told.python },
    { key: "curl", label: "curl", text: told.curl },
  ];
  return (
    <Tabs defaultValue="commands">
      <Tabs.List>{tabs.map(({ key, label }) => <Tabs.Tab key={key} value={key}>{label}</Tabs.Tab>)}</Tabs.List>
      {tabs.map(({ key, text }) => (
        <Tabs.Panel key={key} value={key} pt="sm">
          <Stack gap="xs">
            <Code block>{text}</Code>
            <Group justify="space-between">
              <Text size="xs" c="dimmed">{key === "curl" ? "Needs jq. Where the server asks for a token, add -H 'Authorization: Bearer …' to both." : ""}</Text>
              <CopyButton value={text}>
                {({ copied, copy }) => <Button size="compact-sm" variant="light" onClick={copy}>{copied ? "Copied" : "Copy"}</Button>}
              </CopyButton>
            </Group>
          </Stack>
        </Tabs.Panel>
      ))}
    </Tabs>
  );
}
