// Batch, Monitor and Models in a real browser: node e2e/pages.mjs URL FOLDER CATALOGUE [PART].
// Prints a line of JSON with what was seen; the test that calls it compares.
import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";

const [url, folder, catalogue, only] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const PATIENCE = 90_000;
const seen = { console: [], overflow: [], nameless: [] };
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"],
});

async function opened(path, { width = 1366, height = 900, colorScheme = "light" } = {}) {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme, reducedMotion: "reduce", acceptDownloads: true });
  page.setDefaultTimeout(PATIENCE);
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && seen.console.push(`${path}: ${m.text()}`));
  page.on("pageerror", (e) => seen.console.push(`${path}: ${e.message}`));
  await page.goto(url + path);
  return page;
}

async function shot(page, name) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (over > 0) seen.overflow.push(`${name}: ${over}`);
  const { width } = page.viewportSize();
  await page.evaluate(() => {
    document.activeElement?.blur();
    window.scrollTo(0, 0);
  });
  await page.screenshot({ path: `${folder}/${name}.png`, fullPage: width < 3000 });
}

/** Controls without a name that a screen reader could say. */
async function nameless(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll("main button, main input:not([type=hidden]), main a, main [role=combobox]")]
      // Those that are out of the order of tabs have a key that does the same.
      .filter((one) => one.checkVisibility() && one.tabIndex >= 0 && !one.closest("[aria-hidden=true]"))
      .filter((one) => {
        const labels = [...(one.labels ?? [])].map((label) => label.textContent).join("");
        const by = (one.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join("");
        return !`${one.textContent}${labels}${by}${one.getAttribute("aria-label") ?? ""}${one.title}`.trim();
      })
      .map((one) => one.outerHTML.slice(0, 160)),
  );
}

async function batch() {
  const page = await opened("/dashboard/batch");
  await page.getByRole("heading", { name: "Batch" }).waitFor();
  await page.getByTestId("catalogue").setInputFiles(catalogue);
  seen.disabled = await page.getByRole("button", { name: "Answer", exact: true }).isDisabled();
  await shot(page, "batch-empty");
  await page.getByRole("button", { name: "Answer", exact: true }).click();
  await page.getByText(/^Done: /).waitFor();
  seen.done = await page.getByText(/^Done: /).textContent();
  await page.getByText("Distribution of the effect").waitFor();
  seen.refused = await page.getByRole("region", { name: /Refused/ }).locator("tbody tr").allInnerTexts();
  // Sorted by confidence, from the keyboard: a heading is a button.
  await page.getByRole("button", { name: /^Confidence/ }).press("Enter");
  const confidences = await page.getByRole("region", { name: "Galaxies" }).locator("tbody tr td:nth-child(3)").allInnerTexts();
  seen.confidences = confidences.map((text) => Number.parseFloat(text));
  await page.getByLabel("Name or flag").fill("sim-1");
  await page.waitForTimeout(300);
  seen.filtered = await page.getByRole("region", { name: "Galaxies" }).locator("tbody th").allInnerTexts();
  await page.getByLabel("Name or flag").fill("");
  for (const kind of ["CSV", "Parquet"]) {
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: kind, exact: true }).click()]);
    await download.saveAs(`${folder}/${download.suggestedFilename()}`);
  }
  seen.nameless.push(...(await nameless(page)));
  await shot(page, "batch");
  // Another question, which is cancelled at its first galaxy.
  await page.getByRole("button", { name: "Remove stellar_mass*=1.5" }).click();
  await page.getByLabel("Or as text").fill("dust_av=0.5");
  await page.getByLabel("Or as text").press("Enter");
  await page.getByRole("button", { name: "Answer", exact: true }).click();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText(/^Cancelled: /).waitFor();
  seen.cancelled = await page.getByText(/^Cancelled: /).textContent();
  // And one that cannot be asked.
  await page.getByLabel("Or as text").fill("age=99");
  await page.getByLabel("Or as text").press("Enter");
  await page.getByRole("button", { name: "Answer", exact: true }).click();
  await page.getByRole("alert").first().waitFor();
  seen.problem = await page.getByRole("alert").first().innerText();
  // The browser itself notes every answer of status 422.
  seen.console = seen.console.filter((text) => !text.includes("status of 422"));
  await page.close();
}

async function monitor() {
  const page = await opened("/dashboard/monitor");
  const asked = [];
  page.on("request", (request) => request.url().includes("/api/metrics") && asked.push(request.url()));
  await page.getByRole("heading", { name: "Latency" }).waitFor();
  const log = page.getByRole("region", { name: "Recent questions" });
  await log.locator("tbody tr").first().waitFor();
  seen.log = await log.locator("tbody tr").count();
  seen.curves = await page.locator("figure .recharts-surface").count();
  seen.captions = await page.locator("figcaption").allInnerTexts();
  await page.waitForTimeout(500);
  await shot(page, "monitor");
  await page.getByRole("combobox", { name: "Result" }).click();
  await page.getByRole("option", { name: "not answered" }).click();
  // Slow machines take their time to ask again.
  await log.locator("tbody td").filter({ hasText: /^answered$/ }).first().waitFor({ state: "detached" });
  seen.errors = await log.locator("tbody tr td:nth-child(3)").allInnerTexts();
  seen.nameless.push(...(await nameless(page)));
  // Live: it asks again by itself, and no longer when it is switched off.
  await page.waitForRequest(/\/api\/metrics/);
  await page.getByRole("switch", { name: "Live" }).press("Space");
  await page.getByText(/, paused/).waitFor();
  await page.waitForTimeout(500);
  const off = asked.length;
  await page.waitForTimeout(7_000);
  seen.polled = off;
  seen.paused = asked.length - off;
  await page.close();
}

async function models() {
  const page = await opened("/dashboard/models");
  await page.getByRole("heading", { name: "Coverage of intervals" }).waitFor();
  await page.waitForTimeout(500);
  seen.passed = await page.getByText(/criteria passed/).first().innerText();
  seen.verdicts = await page.getByRole("region", { name: "Criteria" }).locator("tbody tr").count();
  await shot(page, "models");
  await page.getByRole("combobox", { name: "Variable" }).click();
  await page.getByRole("option", { name: "dust av" }).click();
  seen.chosen = await page.locator("figcaption", { hasText: "dust av: ranks" }).innerText();
  seen.nameless.push(...(await nameless(page)));
  await page.close();
}

async function sizes() {
  const views = [["phone", { width: 360, height: 740 }], ["dark", { colorScheme: "dark" }], ["4k", { width: 3840, height: 2160 }]];
  for (const path of ["batch", "monitor", "models"]) {
    for (const [name, view] of views) {
      const page = await opened(`/dashboard/${path}`, view);
      await page.getByRole("heading", { level: 2 }).waitFor();
      if (path !== "batch") await page.locator("figure .recharts-surface").first().waitFor();
      await page.waitForTimeout(400);
      await shot(page, `${path}-${name}`);
      await page.close();
    }
  }
}

try {
  for (const part of [batch, monitor, models, sizes]) if (!only || only.split(",").includes(part.name)) await part();
} finally {
  await browser.close();
  console.log(JSON.stringify(seen));
}
