import { Alert, Group, List, Text } from "@mantine/core";
import { memo } from "react";
import type { Answer, GivenRedshift, Spectrum } from "../../api/queries";
import { words } from "../../lib/format";
import { FLAGS, confidenceInWords } from "../../lib/quality";

interface Props {
  answer: Answer;
  spectrum: Spectrum;
  redshift: GivenRedshift;
}

/** How far the answer can be trusted, in words. */
export const Verdict = memo(function Verdict({ answer, spectrum, redshift }: Props) {
  const { colour, title, text } = confidenceInWords(answer.confidence);
  // What reading the file told is not sent with the spectrum, and must not be lost: but for what
  // was said of a redshift that is not used.
  const read = spectrum.quality.filter((flag) => redshift === null || flag !== "REDSHIFT_ESTIMATED");
  const flags = [...new Set([...read, ...answer.quality])];
  const shown = flags.length > 0 && colour === "teal" ? "yellow" : colour;
  const estimate = answer.redshift_estimate;
  return (
    <Alert color={shown} variant="light" title={flags.length > 0 && colour === "teal" ? title.replace("good", "good, but") : title} data-testid="verdict" p="sm">
      <Text size="sm">{text} {flags.length === 0 && "No quality flag is set."}</Text>
      {flags.length > 0 && (
        <List size="sm" mt={4} spacing={2}>
          {flags.map((flag) => (
            <List.Item key={flag}><b>{words(flag.toLowerCase())}</b>: {FLAGS[flag] ?? "see docs/trust.md."}</List.Item>
          ))}
        </List>
      )}
      {estimate && (
        <Text size="sm" mt={4}>
          Redshift {estimate.value.toFixed(4)}{estimate.error === null ? "" : ` ± ${estimate.error.toExponential(1)}`}, from the spectrum
          {estimate.second === null ? "." : `; the second best is ${estimate.second.toFixed(4)}.`}
        </Text>
      )}
      <Group gap="md" mt={4}>
        <Text size="xs" c="dimmed">{answer.samples} draws · {answer.model.name}@{answer.model.version} · {answer.timing_ms.toFixed(0)} ms{answer.cached ? " · from the cache" : ""}</Text>
      </Group>
    </Alert>
  );
});
