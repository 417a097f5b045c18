import { Box, Button, Group, Paper, Skeleton, Stack, Text, Title, VisuallyHidden } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type uPlot from "uplot";
import { ProblemError, isCancelled } from "../../api/problem";
import { type Asked, type Source, type Spectrum, useAnswer, useGraph, useSpectrum } from "../../api/queries";
import { ErrorBoundary } from "../../components/ErrorBoundary";
import { ProblemAlert } from "../../components/ProblemAlert";
import { changeAddress, readAddress } from "../../lib/address";
import { actionTexts } from "../../lib/question";
import { firstAction } from "../../lib/sliders";
import { ActionSliders } from "./ActionSliders";
import { AnswerMenu, type Current } from "./AnswerMenu";
import { Effects } from "./Effects";
import { GraphView } from "./GraphView";
import { RedshiftField } from "./RedshiftField";
import { SourceBar } from "./SourceBar";
import { SpectrumFigure } from "./SpectrumFigure";
import { Verdict } from "./Verdict";
import classes from "./Explore.module.css";
import type { Frame } from "./spectrumData";
import { useLatest } from "./useLatest";
import { useQuestion } from "./useQuestion";
import { useSource } from "./useSource";

const SAMPLES = 64;
/** The same draws for every place of a slider: what moves is then the question and not the dice. */
const SEED = 0;

declare global {
  interface Window {
    aciePlots?: () => readonly (uPlot | null)[];
  }
}

/** One galaxy, one question, its answer. */
export function ExplorePage() {
  const { source, awaited, redshift: given, choose, giveRedshift } = useSource();
  const state = useQuestion();
  const graph = useGraph();
  const spectrum = useSpectrum(source);
  const asked = useMemo<Asked>(
    () => ({ redshift: given, intervention: actionTexts(state.question), hold: [...state.question.hold], samples: SAMPLES, seed: SEED }),
    [given, state.question],
  );
  const [settled] = useDebouncedValue(asked, 60);
  const answer = useAnswer(spectrum.data, settled);
  const { frame, changeFrame } = useFrame();
  const [smoothing, setSmoothing] = useState(5);
  const figures = useRef<(uPlot | null)[]>([]);
  const plots = useCallback(() => figures.current, []);

  useEffect(() => {
    // What measures the figures needs a way to them.
    window.aciePlots = plots;
    return () => void delete window.aciePlots;
  }, [plots]);

  const shown = answer.data ?? null;
  const read = spectrum.data?.redshift ?? null;
  const redshift = shown?.redshift ?? (typeof given === "number" ? given : read);
  const changed = shown !== null && shown.interventions.length > 0 ? shown : null;
  const failed = answer.error && !isCancelled(answer.error) ? answer.error : null;
  const misplaced = redshiftProblem(failed);
  const pick = useLatest((name: string) => {
    const variable = graph.data?.variables.find((one) => one.name === name);
    if (!variable) return;
    if (name in state.question.actions) return state.removeAction(name);
    const median = shown?.latents[name]?.median;
    if (median !== undefined) state.setAction(name, firstAction(variable, median));
  });
  const current = useLatest((): Current => ({
    spectrum: spectrum.data as Spectrum, answer: shown, asked: settled, question: state.question, source: source as Source,
  }));
  const used = shown?.redshift ?? null;
  const field = useMemo(
    () => <RedshiftField read={read} given={given} used={used} problem={misplaced} onGive={giveRedshift} />,
    [read, given, used, misplaced, giveRedshift],
  );

  return (
    <Stack gap="sm" className={classes.page ?? ""}>
      <VisuallyHidden><Title order={2}>Explore a galaxy</Title></VisuallyHidden>
      <SourceBar source={source} spectrum={spectrum.data} redshift={field} busy={spectrum.isFetching} onChoose={choose} />
      {awaited && (
        <Paper withBorder p="md"><Text size="sm">This link asks about <b>{awaited}</b>. Links carry no files: open it here, and the question will be answered.</Text></Paper>
      )}
      {spectrum.error && <ProblemAlert error={spectrum.error} retry={() => void spectrum.refetch()} />}
      <div className={classes.columns}>
        <Stack gap="sm" miw={0} className={classes.seen ?? ""}>
          <Paper withBorder p="sm">
            {spectrum.data ? (
              <ErrorBoundary>
                <SpectrumFigure
                  spectrum={spectrum.data} answer={changed} redshift={redshift} frame={frame} onFrame={changeFrame}
                  smoothing={smoothing} onSmoothing={setSmoothing} figures={figures} stale={answer.isPlaceholderData}
                />
              </ErrorBoundary>
            ) : spectrum.isFetching ? <Skeleton h={400} aria-label="Reading the spectrum" /> : <Empty />}
          </Paper>
          {failed && misplaced === null && <ProblemAlert error={failed} retry={() => void answer.refetch()} />}
        </Stack>
        <div className={classes.moved} data-stale={answer.isPlaceholderData || undefined}>
          {spectrum.data && (
            <Paper withBorder p="sm">
              <Group justify="space-between" mb={4}>
                <Title order={3} size="h5">{changed ? "What moved" : "The galaxy"}</Title>
                {source && <AnswerMenu answered={shown !== null} current={current} plots={plots} />}
              </Group>
              {shown && graph.data ? <Effects graph={graph.data} question={state.question} answer={shown} onHold={state.toggleHold} />
                : failed ? <Text size="sm" c="dimmed">{misplaced ? "No answer at this redshift." : "No answer."}</Text>
                : <Skeleton h={300} aria-label="Computing the answer" />}
            </Paper>
          )}
        </div>
        <Stack gap="sm" miw={0} className={classes.side ?? ""}>
          <Paper withBorder p="sm">
            <Group justify="space-between" mb={4}>
              <Title order={3} size="h5">What if?</Title>
              <Button size="compact-sm" variant="subtle" disabled={Object.keys(state.question.actions).length + state.question.hold.length === 0} onClick={state.clear}>Reset</Button>
            </Group>
            {graph.error && <ProblemAlert error={graph.error} retry={() => void graph.refetch()} />}
            {graph.data ? (
              <ErrorBoundary>
                <GraphView graph={graph.data} question={state.question} answer={shown} onPick={pick} onHold={state.toggleHold} />
                <Box mt="xs"><ActionSliders graph={graph.data} state={state} answer={shown} /></Box>
              </ErrorBoundary>
            ) : !graph.error && <Skeleton h={400} aria-label="Loading the causal graph" />}
          </Paper>
          {shown && spectrum.data && <Verdict answer={shown} spectrum={spectrum.data} redshift={given} />}
        </Stack>
      </div>
      <VisuallyHidden aria-live="polite">
        {answer.isFetching ? "Computing" : changed ? `Answered: ${changed.interventions.join(", ")}` : ""}
      </VisuallyHidden>
    </Stack>
  );
}

/** Observed or rest wavelengths, also in the address. */
function useFrame() {
  const [frame, setFrame] = useState<Frame>(() => (readAddress().get("frame") === "rest" ? "rest" : "observed"));
  const changeFrame = useCallback((next: Frame) => {
    setFrame(next);
    changeAddress((params) => {
      if (next === "rest") params.set("frame", next);
      else params.delete("frame");
      return params;
    });
  }, []);
  return { frame, changeFrame };
}

/** What a problem has against the redshift: it is said at its field. */
function redshiftProblem(error: unknown): string | null {
  if (!(error instanceof ProblemError) || !/(^|\.)redshift$/.test(error.document.argument ?? "")) return null;
  const { title, expected, found } = error.document;
  return expected ? `${title}: expected ${expected}${found ? `, found ${found}` : ""}.` : error.document.detail;
}

function Empty() {
  return (
    <Stack align="center" py={80} gap={4}>
      <Text fw={600}>No spectrum yet</Text>
      <Text size="sm" c="dimmed" ta="center">Open a file, drop one above, or choose an example.</Text>
    </Stack>
  );
}
