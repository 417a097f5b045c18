import { Button, Group, Text, TextInput } from "@mantine/core";
import { memo, useEffect, useState } from "react";
import type { GivenRedshift } from "../../api/queries";
import { parseRedshift } from "../../lib/redshift";
import classes from "./Explore.module.css";

interface Props {
  /** What the file says; null where it says nothing. */
  read: number | null;
  given: GivenRedshift;
  /** What was asked with; null until there is an answer. */
  used: number | null;
  /** What the service has against the redshift. */
  problem: string | null;
  onGive: (given: GivenRedshift) => void;
}

/** The redshift: as it was read, typed over, or estimated from the spectrum. */
export const RedshiftField = memo(function RedshiftField({ read, given, used, problem, onGive }: Props) {
  const [draft, setDraft] = useState<string | null>(null);
  const [wrong, setWrong] = useState<string | null>(null);
  useEffect(() => {
    setDraft(null);
    setWrong(null);
  }, [read, given]);
  const estimated = given === "estimate" || (given === null && read === null);
  const known = typeof given === "number" ? String(given) : (used ?? (estimated ? null : read))?.toFixed(4);
  const estimate = read === null ? null : "estimate";

  const take = () => {
    if (draft === null) return;
    const next = parseRedshift(draft);
    if (next === undefined) return setWrong(`A number is expected, such as 0.0828; found ${draft}`);
    setWrong(null);
    setDraft(null);
    // Leaving the field as it was changes nothing.
    if (draft.trim() === known) return;
    onGive(next === "estimate" ? estimate : next);
  };

  return (
    <div className={classes.redshift}>
      <Group gap={6} wrap="nowrap" align="center">
        <Text component="label" htmlFor="acie-redshift" size="xs" c="dimmed">redshift</Text>
        <TextInput
          id="acie-redshift" size="xs" w={92} inputMode="decimal" autoComplete="off" spellCheck={false}
          value={draft ?? known ?? ""} placeholder={estimated && !problem ? "estimating" : "unknown"}
          aria-invalid={wrong !== null || problem !== null} aria-describedby="acie-redshift-said" error={wrong !== null || problem !== null}
          onChange={(event) => setDraft(event.currentTarget.value)} onBlur={take}
          onKeyDown={(event) => {
            if (event.key === "Enter") take();
            if (event.key !== "Escape") return;
            setDraft(null);
            setWrong(null);
          }}
        />
        <Text size="xs" c="dimmed">{typeof given === "number" ? "typed" : estimated ? "estimated" : "as read"}</Text>
        {!estimated && <Button size="compact-xs" variant="default" title="Estimate it from the spectrum" onClick={() => onGive(estimate)}>Estimate</Button>}
        {given !== null && read !== null && <Button size="compact-xs" variant="default" title={`Use ${read.toFixed(4)}, as the file says`} onClick={() => onGive(null)}>As read</Button>}
      </Group>
      <Text id="acie-redshift-said" size="xs" c="red" role="alert" maw={420}>{wrong ?? problem}</Text>
    </div>
  );
});
