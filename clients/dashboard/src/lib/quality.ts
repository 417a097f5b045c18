/** Quality flags and confidence in words. 1 % is where LOW_CONFIDENCE begins (docs/trust.md); 5 % is a choice of this page. */

export const FLAGS: Record<string, string> = {
  LOW_CONFIDENCE: "The posterior and the exact likelihood disagree: the answer may be far off.",
  POOR_FIT: "The model cannot reproduce this spectrum.",
  OUT_OF_DISTRIBUTION: "The spectrum lies outside the population that the estimator was trained on.",
  LOW_SNR: "Median signal-to-noise ratio per pixel below 3: the prior decides much of the answer.",
  EXTRAPOLATED: "A relation was used outside the range of its publication.",
  NOISE_ESTIMATED: "The file has no errors; they were estimated from the scatter of the pixels.",
  REDSHIFT_ESTIMATED: "The redshift was estimated from the spectrum, or its survey warns of it.",
  MASKED: "Fewer than half of the pixels are good.",
  PARTIAL: "Some draws have no allowed value after this action; the others answer.",
  REDSHIFT_AMBIGUOUS: "Another redshift explains the spectrum nearly as well.",
  AT_EDGE: "The posterior piles up at an edge of the model's range: the truth may lie beyond.",
  REDSHIFT_CONFLICT: "The spectrum speaks clearly for another redshift than the one given.",
};

export interface Verdict {
  colour: "teal" | "yellow" | "red";
  title: string;
  text: string;
}

/** What the importance-sampling efficiency says of the draws. */
export function confidenceInWords(confidence: number): Verdict {
  const percent = confidence >= 0.095 ? `${Math.round(confidence * 100)} %` : `${(confidence * 100).toPrecision(1)} %`;
  if (confidence < 0.01) {
    return { colour: "red", title: `Confidence ${percent}: low`, text: "The draws are few in effect. Do not rely on them." };
  }
  if (confidence < 0.05) {
    return { colour: "yellow", title: `Confidence ${percent}: moderate`, text: "Proposal and likelihood agree in part." };
  }
  return { colour: "teal", title: `Confidence ${percent}: good`, text: "Proposal and exact likelihood agree." };
}
