// A real Chromium, and what it must not say.
import { chromium } from "playwright-core";

/** Starts the browser that CHROMIUM names, Debian's when left out. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // Containers run as root, where Chromium has no sandbox.
    args: ["--no-sandbox", "--force-color-profile=srgb"],
  });
}

/** A page of a size, and the list that its errors and warnings go to. */
export async function open(browser, errors, { width, height, colorScheme = "light", ...rest }) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, acceptDownloads: true, ...rest });
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const page = await context.newPage();
  // Machines that test are busy.
  page.setDefaultTimeout(90_000);
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) errors.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => errors.push(`page: ${error.message}`));
  return page;
}

/** How far the page is wider than its window. */
export function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}
