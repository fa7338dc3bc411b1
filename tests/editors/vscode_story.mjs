// Drives the real VS Code workbench in a real browser, as a person would. Started by test_vscode.py with one JSON argument:
//   url, chromium, profile (a fresh folder), modules (where playwright-core is), artifacts (where pictures go), seconds
// The last line of stdout is a JSON object with what was seen. A failure leaves a picture and exits with 1.

import { createRequire } from "node:module";
import path from "node:path";

const options = JSON.parse(process.argv[2]);
const { chromium } = createRequire(path.join(options.modules, "package.json"))("playwright-core");

const LENS = ".codelens-decoration a";
const MINUTE = 60_000;

const browser = await chromium.launchPersistentContext(options.profile, {
  executablePath: options.chromium,
  headless: true,
  viewport: { width: 1360, height: 800 },
  deviceScaleFactor: 1.5,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
const page = browser.pages()[0] ?? (await browser.newPage());
try {
  console.log(JSON.stringify(await story()));
} catch (error) {
  console.error(error.stack ?? String(error));
  console.error("lenses on the screen:", await page.locator(LENS).allInnerTexts());
  console.error("notifications:", await page.locator(".notification-toast").allInnerTexts());
  await picture("failure");
  process.exitCode = 1;
} finally {
  await browser.close();
}

async function story() {
  await page.goto(options.url);
  await page.locator(".monaco-workbench").waitFor({ timeout: MINUTE });
  await openFile("softmax.py");

  const idle = await lensMatching(/evolve/i, MINUTE);
  await picture("1-lens");

  const seen = recordLenses();
  await page.locator(LENS, { hasText: idle }).first().click();
  await lensMatching(/evolving|queued|baseline|verifying/i, MINUTE);
  await page.waitForTimeout(1500);
  await picture("2-evolving");

  const verdict = await lensMatching(/faster/i, options.seconds * 1000);
  const lenses = await seen.stop();
  await page.waitForTimeout(1000); // inlay hints follow the lens
  const inlay = await page.locator(".view-line", { hasText: "def softmax_kernel" }).innerText();
  await picture("3-verdict");

  const hover = await hoverOver("softmax_kernel");
  await picture("4-hover");

  const offered = await applyWinner();
  await page.keyboard.press("Control+S");
  await page.waitForTimeout(1500);
  await picture("6-applied");
  const notifications = await page.locator(".notification-toast").allInnerTexts();
  return { idle, lenses, verdict, inlay: plain(inlay), hover: plain(hover), offered, notifications };
}

async function openFile(name) {
  await page.keyboard.press("Control+P");
  await page.locator(".quick-input-widget input").first().fill(name);
  await page.locator(`.quick-input-list .monaco-list-row:has-text("${name}")`).first().waitFor();
  await page.keyboard.press("Enter");
  await page.locator(`.tab:has-text("${name}")`).waitFor();
}

async function lensMatching(pattern, timeout) {
  const lens = page.locator(LENS, { hasText: pattern }).first();
  await lens.waitFor({ timeout });
  return plain(await lens.innerText());
}

/** Every text that the first lens showed, in order. */
function recordLenses() {
  const seen = [];
  let going = true;
  const done = (async () => {
    while (going) {
      const text = plain((await page.locator(LENS).allInnerTexts()).join(" | "));
      if (text !== "" && text !== seen.at(-1)) {
        seen.push(text);
      }
      await page.waitForTimeout(200);
    }
    return seen;
  })();
  return {
    stop: () => {
      going = false;
      return done;
    },
  };
}

async function hoverOver(name) {
  const word = page.locator(".view-line span", { hasText: new RegExp(`^${name}$`) }).first();
  const line = page.locator(".view-line", { hasText: `def ${name}` }).first();
  const target = (await word.count()) > 0 ? word : line;
  const box = await target.boundingBox();
  await page.mouse.move(box.x + 20, box.y + box.height / 2);
  await page.mouse.move(box.x + 24, box.y + box.height / 2);
  const hover = page.locator(".monaco-hover:visible .hover-contents").filter({ hasText: /estimated|faster/i }).first();
  await hover.waitFor();
  return hover.innerText();
}

async function applyWinner() {
  await page.mouse.move(5, 5); // the hover must not cover the light bulb's menu
  const box = await page.locator(".view-line", { hasText: "def softmax_kernel" }).first().boundingBox();
  await page.mouse.click(box.x + 60, box.y + box.height / 2);
  await page.keyboard.press("Control+.");
  const menu = page.locator(".action-widget");
  await menu.waitFor();
  await picture("5-actions");
  const title = await choose(menu, /^Apply/i);
  await menu.waitFor({ state: "hidden" });
  return title;
}

/** By keyboard: a block that takes every click lies over the rest of the window while the menu is open. */
async function choose(menu, pattern) {
  const rows = menu.locator(".monaco-list-row.action");
  for (let step = await rows.count(); step > 0; step--) {
    const title = plain(await menu.locator(".monaco-list-row.focused").innerText());
    if (pattern.test(title)) {
      await page.keyboard.press("Enter");
      return title;
    }
    await page.keyboard.press("ArrowDown");
  }
  throw new Error(`no action matches ${pattern}: ${await rows.allInnerTexts()}`);
}

async function picture(name) {
  await page.screenshot({ path: path.join(options.artifacts, `vscode-${name}.png`) });
}

// The workbench shows spaces as no-break spaces.
function plain(text) {
  return text.replaceAll("\u00a0", " ").replace(/\u200b|\u200c|\u200d/g, "").trim();
}
