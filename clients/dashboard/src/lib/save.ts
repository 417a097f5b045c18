/** Files made in the browser. */
import type uPlot from "uplot";

/** Hands a file to whoever looks at the page. */
export function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser reads it after the click.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** The figures below one another, with a title, on their own background. */
export async function picture(plots: readonly (uPlot | null)[], title: string, dark: boolean): Promise<Blob> {
  const parts = plots.filter((plot) => plot !== null).map((plot) => plot.ctx.canvas);
  const ratio = window.devicePixelRatio;
  const head = 34 * ratio;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(...parts.map((part) => part.width));
  canvas.height = head + parts.reduce((sum, part) => sum + part.height, 0);
  const context = canvas.getContext("2d");
  if (!context) throw new Error("This browser draws no pictures.");
  context.fillStyle = dark ? "#1b1f24" : "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = dark ? "#e6ebf0" : "#1d2731";
  context.font = `600 ${14 * ratio}px system-ui, "Segoe UI", Roboto, sans-serif`;
  context.fillText(title, 12 * ratio, 22 * ratio, canvas.width - 24 * ratio);
  let top = head;
  for (const part of parts) {
    context.drawImage(part, 0, top);
    top += part.height;
  }
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The picture could not be made."))), "image/png");
  });
}
