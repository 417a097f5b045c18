// Screenshots of the page at several sizes: node e2e/look.mjs URL FOLDER.
import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";
const [url, folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
const sizes = [["phone", 360, 740, "light"], ["laptop", 1366, 768, "light"], ["laptop-dark", 1366, 768, "dark"], ["4k", 3840, 2160, "light"]];
for (const [name, width, height, colorScheme] of sizes) {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme });
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && console.log(name, m.type(), m.text()));
  page.on("pageerror", (e) => console.log(name, "pageerror", e.message));
  await page.goto(url);
  await page.getByTestId("effects").waitFor({ timeout: 30000 }).catch((e) => console.log(name, e.message.split("\n")[0]));
  await page.waitForTimeout(700);
  await page.screenshot({ path: `${folder}/${name}.png`, fullPage: name !== "4k" });
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (over > 0) console.log(name, "overflows by", over);
  await page.close();
}
await browser.close();
