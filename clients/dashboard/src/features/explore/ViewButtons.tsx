import { ActionIcon, Tooltip } from "@mantine/core";

const BUTTONS = [
  { label: "Move to shorter wavelengths", sign: "‹", step: [-0.25, 1] },
  { label: "Move to longer wavelengths", sign: "›", step: [0.25, 1] },
  { label: "Zoom in (or drag over the figure, or Ctrl and wheel)", sign: "+", step: [0, 0.6] },
  { label: "Zoom out", sign: "−", step: [0, 1 / 0.6] },
  { label: "Show all", sign: "⤢", step: [0, 1e9] },
] as const;

/** Zoom and pan by mouse and touch. */
export function ViewButtons({ step }: { step: (shift: number, zoom: number) => void }) {
  return (
    <ActionIcon.Group>
      {BUTTONS.map(({ label, sign, step: [shift, zoom] }) => (
        <Tooltip key={label} label={label}>
          <ActionIcon variant="default" size={30} aria-label={label} onClick={() => step(shift, zoom)}>
            <span aria-hidden>{sign}</span>
          </ActionIcon>
        </Tooltip>
      ))}
    </ActionIcon.Group>
  );
}
