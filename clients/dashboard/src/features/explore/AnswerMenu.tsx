import { Button, Code, CopyButton, Group, Menu, Modal, Stack, Tabs, Text, useComputedColorScheme } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useState } from "react";
import type uPlot from "uplot";
import { type Answer, type Asked, type Source, type Spectrum, answerFile } from "../../api/queries";
import { ProblemAlert } from "../../components/ProblemAlert";
import { ways } from "../../lib/code";
import { type Question, toParams } from "../../lib/question";
import { picture, save } from "../../lib/save";
import { withLists } from "../../lib/tensors";

interface Props {
  spectrum: Spectrum;
  answer: Answer | null;
  asked: Asked;
  question: Question;
  source: Source;
  plots: () => readonly (uPlot | null)[];
}

/** Links, files and programs that ask the same. */
export function AnswerMenu({ spectrum, answer, asked, question, source, plots }: Props) {
  const [opened, { open, close }] = useDisclosure(false);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const dark = useComputedColorScheme("light") === "dark";
  const stem = spectrum.file.replace(/\.\w+$/, "") || "galaxy";

  const run = (work: () => Promise<void>) => async () => {
    setBusy(true);
    setError(null);
    try {
      await work();
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };

  const fits = run(async () => save(await answerFile(spectrum, asked), `${stem}.fits`));
  const json = run(async () => {
    const content = { observation: spectrum, question: asked, answer };
    save(new Blob([JSON.stringify(content, withLists)], { type: "application/json" }), `${stem}.json`);
  });
  const png = run(async () => {
    const title = `${spectrum.name}   z = ${(answer?.redshift ?? NaN).toFixed(4)}   ${asked.intervention.join(", ") || "as observed"}`;
    save(await picture(plots(), title, dark), `${stem}.png`);
  });

  const link = () => {
    const url = new URL(window.location.href);
    url.search = toParams(question, url.searchParams).toString();
    return url.toString();
  };

  return (
    <>
      <Group gap="xs">
        <CopyButton value={link()}>
          {({ copied, copy }) => (
            <Button size="compact-sm" variant="default" onClick={copy}>{copied ? "Link copied" : "Copy link"}</Button>
          )}
        </CopyButton>
        <Menu>
          <Menu.Target><Button size="compact-sm" variant="default" loading={busy} disabled={!answer}>Download ▾</Button></Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={fits}>FITS, as acie infer writes it</Menu.Item>
            <Menu.Item onClick={json}>JSON, with spectrum and draws</Menu.Item>
            <Menu.Item onClick={png}>PNG of the figure</Menu.Item>
          </Menu.Dropdown>
        </Menu>
        <Button size="compact-sm" variant="default" onClick={open}>As code</Button>
      </Group>
      {error !== null && <ProblemAlert error={error} />}
      <Modal opened={opened} onClose={close} title="The same question, asked elsewhere" size="lg" closeButtonProps={{ "aria-label": "Close" }}>
        <CodeTabs spectrum={spectrum} asked={asked} question={question} source={source} />
      </Modal>
    </>
  );
}

function CodeTabs({ spectrum, asked, question, source }: Pick<Props, "spectrum" | "asked" | "question" | "source">) {
  const told = ways({
    file: source.kind === "file" ? source.file.name : spectrum.file, example: source.kind === "example", question,
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
