// The real VS Code workbench in a real browser, used as a person would. A script is started by test_vscode.py with one JSON
// argument: url, chromium, profile (a fresh folder), modules (where playwright-core is), artifacts (where pictures go),
// seconds (how long a run may take). The last line of its stdout is a JSON object with what was seen.

import { createRequire } from "node:module";
import path from "node:path";

export const LENS = ".codelens-decoration a";
export const MINUTE = 60_000;

const CHROMIUM_OPTIONS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Plays `story(workbench, options)`. A failure leaves a picture and what was on the screen, and exits with 1. */
export async function play(story) {
  const options = JSON.parse(process.argv[2]);
  const { chromium } = createRequire(path.join(options.modules, "package.json"))("playwright-core");
  const browser = await chromium.launchPersistentContext(options.profile, {
    executablePath: options.chromium,
    headless: true,
    viewport: { width: 1360, height: 800 },
    deviceScaleFactor: 1.5,
    args: CHROMIUM_OPTIONS,
  });
  const page = browser.pages()[0] ?? (await browser.newPage());
  const workbench = new Workbench(page, options.artifacts);
  try {
    await page.goto(options.url);
    await page.locator(".monaco-workbench").waitFor({ timeout: MINUTE });
    console.log(JSON.stringify(await story(workbench, options)));
  } catch (error) {
    console.error(error.stack ?? String(error));
    console.error("lenses on the screen:", await page.locator(LENS).allInnerTexts());
    console.error("notifications:", await workbench.notifications());
    await workbench.picture("failure");
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}

class Workbench {
  constructor(page, artifacts) {
    this.page = page;
    this.artifacts = artifacts;
  }

  async picture(name) {
    await this.page.screenshot({ path: path.join(this.artifacts, `vscode-${name}.png`) });
  }

  async notifications() {
    const texts = await this.page.locator(".notification-toast").allInnerTexts();
    return texts.map(plain);
  }

  async openFile(name) {
    await this.page.keyboard.press("Control+P");
    await this.page.locator(".quick-input-widget input").first().fill(name);
    await this.page.locator(`.quick-input-list .monaco-list-row:has-text("${name}")`).first().waitFor();
    await this.page.keyboard.press("Enter");
    await this.page.locator(`.tab:has-text("${name}")`).waitFor();
  }

  async save() {
    await this.page.keyboard.press("Control+S");
    await this.page.locator(".tab.active:not(.dirty)").waitFor();
  }

  /** A command of the palette, by its title. */
  async command(title) {
    await this.page.keyboard.press("F1");
    await this.page.locator(".quick-input-widget input").first().fill(`>${title}`);
    await this.page.locator(`.quick-input-list .monaco-list-row:has-text("${title}")`).first().waitFor();
    await this.page.keyboard.press("Enter");
  }

  /** Waits for a lens; a run that ended without a winner is not waited for any longer. */
  async lensMatching(pattern, timeout) {
    const awaited = this.page.locator(LENS, { hasText: pattern }).first();
    const failed = this.page.locator(LENS, { hasText: /^(failed|no gain)/ }).first();
    await awaited.or(failed).first().waitFor({ timeout });
    const text = plain(await awaited.or(failed).first().innerText());
    if (!pattern.test(text)) {
      throw new Error(text);
    }
    return text;
  }

  async clickLens(text) {
    await this.page.locator(LENS, { hasText: text }).first().click();
  }

  /** Every text that the lenses show until `stop()`, in order. */
  recordLenses() {
    const seen = [];
    let going = true;
    const done = (async () => {
      while (going) {
        const text = plain((await this.page.locator(LENS).allInnerTexts()).join(" | "));
        if (text !== "" && text !== seen.at(-1)) {
          seen.push(text);
        }
        await this.page.waitForTimeout(200);
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

  line(text) {
    return this.page.locator(".view-line", { hasText: text }).first();
  }

  async putCursorOn(text) {
    await this.page.mouse.move(5, 5); // a hover must not lie over the line
    const box = await this.line(text).boundingBox();
    await this.page.mouse.click(box.x + 60, box.y + box.height / 2);
  }

  async hoverOver(lineText, pattern) {
    const box = await this.line(lineText).boundingBox();
    await this.page.mouse.move(box.x + 60, box.y + box.height / 2);
    await this.page.mouse.move(box.x + 64, box.y + box.height / 2);
    const hover = this.page.locator(".monaco-hover:visible .hover-contents").filter({ hasText: pattern }).first();
    await hover.waitFor();
    await this.page.waitForTimeout(400); // it fades in; a picture of it should not be pale
    return plain(await hover.innerText());
  }

  /** Opens the light bulb's menu; its titles. */
  async actions() {
    await this.page.keyboard.press("Control+.");
    const menu = this.page.locator(".action-widget");
    await menu.waitFor();
    return (await menu.locator(".monaco-list-row.action").allInnerTexts()).map(plain);
  }

  /** Takes an action of the open menu by keyboard: a block that takes every click lies over the rest of the window. */
  async choose(pattern) {
    const menu = this.page.locator(".action-widget");
    for (let step = await menu.locator(".monaco-list-row.action").count(); step > 0; step--) {
      const title = plain(await menu.locator(".monaco-list-row.focused").innerText());
      if (pattern.test(title)) {
        await this.page.keyboard.press("Enter");
        await menu.waitFor({ state: "hidden" });
        return title;
      }
      await this.page.keyboard.press("ArrowDown");
    }
    throw new Error(`no action matches ${pattern}`);
  }
}

/** The workbench shows spaces as no-break spaces, and puts invisible characters between. */
export function plain(text) {
  return text.replaceAll("\u00a0", " ").replace(/[\u200b-\u200d]/g, "").trim();
}
