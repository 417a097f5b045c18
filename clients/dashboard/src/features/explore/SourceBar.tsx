import { Button, FileButton, Group, NativeSelect, NumberInput, Paper, Text } from "@mantine/core";
import { type DragEvent, type ReactNode, memo, useRef, useState } from "react";
import { type Source, type Spectrum, useExamples } from "../../api/queries";
import { number } from "../../lib/format";
import classes from "./Explore.module.css";

interface Props {
  source: Source | null;
  spectrum: Spectrum | undefined;
  /** The field that shows and takes the redshift. */
  redshift: ReactNode;
  busy: boolean;
  onChoose: (source: Source) => void;
}

/** Where a galaxy comes from: a file that is dropped or chosen, or an example. */
export const SourceBar = memo(function SourceBar({ source, spectrum, redshift, busy, onChoose }: Props) {
  const examples = useExamples();
  const [over, setOver] = useState(false);
  const reset = useRef<() => void>(null);

  const take = (file: File | null | undefined) => {
    if (file) onChoose({ kind: "file", file, row: 0 });
    reset.current?.();
  };

  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer.files[0]);
  };

  return (
    <Paper
      withBorder p="sm" className={classes.drop ?? ""} data-over={over || undefined} aria-busy={busy}
      onDragOver={(event) => { event.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)} onDrop={drop}
    >
      <Group gap="sm" justify="space-between">
        <Group gap="sm">
          <FileButton onChange={take} resetRef={reset} inputProps={{ "aria-label": "Spectrum file" }}>
            {(props) => <Button {...props} size="sm" loading={busy}>Open a spectrum</Button>}
          </FileButton>
          <Text size="sm" c="dimmed" className={classes.hint ?? ""}>or drop a file here: FITS of SDSS, BOSS, DESI, or a table</Text>
        </Group>
        <NativeSelect
          size="sm" aria-label="Example" value={source?.kind === "example" ? source.name : ""}
          onChange={(event) => event.currentTarget.value && onChoose({ kind: "example", name: event.currentTarget.value })}
          data={[{ value: "", label: "Examples…" }, ...(examples.data ?? []).map(({ name, title }) => ({ value: name, label: title }))]}
        />
      </Group>
      {spectrum && (
        <Group gap="lg" mt="xs" className={classes.facts ?? ""} data-testid="facts">
          <Fact label="galaxy" value={spectrum.name} />
          {redshift}
          <Fact label="signal-to-noise" value={number(spectrum.signal_to_noise)} />
          <Fact label="good pixels" value={`${spectrum.mask.filter((bad) => !bad).length} of ${spectrum.mask.length}`} />
          {spectrum.format && <Fact label="format" value={spectrum.format} />}
          {source?.kind === "file" && spectrum.rows > 1 && (
            <NumberInput
              size="xs" w={150} label={`spectrum 1 to ${spectrum.rows}`} min={1} max={spectrum.rows} value={source.row + 1}
              onChange={(value) => typeof value === "number" && onChoose({ ...source, row: Math.min(Math.max(value, 1), spectrum.rows) - 1 })}
            />
          )}
        </Group>
      )}
    </Paper>
  );
});

function Fact({ label, value }: { label: string; value: string }) {
  return (
    <Text size="sm" component="span">
      <Text span c="dimmed" size="xs">{label} </Text>
      <Text span fw={500} style={{ overflowWrap: "anywhere" }}>{value}</Text>
    </Text>
  );
}
