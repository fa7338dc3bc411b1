// Lens, evolve, verdict, apply.

import { MINUTE, plain, play } from "./vscode_workbench.mjs";

const KERNEL = "def swiglu_kernel";

await play(async (workbench, { seconds }) => {
  const { page } = workbench;
  await workbench.openFile("swiglu.py");
  const idle = await workbench.lensMatching(/^evolve/i, MINUTE);
  await workbench.picture("1-lens");

  const record = workbench.recordLenses();
  await workbench.clickLens(idle);
  await workbench.lensMatching(/evolving/i, seconds * 1000);
  await workbench.picture("2-evolving");

  const verdict = await workbench.lensMatching(/faster/i, seconds * 1000);
  const lenses = await record.stop();
  await page.locator(".view-line", { hasText: KERNEL }).filter({ hasText: "×" }).waitFor(); // the inlay hint
  const inlay = plain(await workbench.line(KERNEL).innerText());
  await workbench.picture("3-verdict");
  const hover = await workbench.hoverOver(KERNEL, /estimated|faster/i);
  await workbench.picture("4-hover");

  // A click on the verdict shows what would change; the button there applies it, and undo takes it back.
  await page.mouse.move(5, 5);
  await workbench.clickLens(verdict);
  await page.locator(".monaco-diff-editor:visible .line-insert").first().waitFor();
  await workbench.picture("5-preview");
  await page.getByRole("button", { name: "Apply Winner" }).click();
  await workbench.lensMatching(/applied/i, MINUTE);
  await page.keyboard.press("Control+Z");
  await workbench.lensMatching(/apply…/i, MINUTE);

  await workbench.clickLens("report");
  await page.locator(".tab", { hasText: "Kernel Evolve: report" }).waitFor();
  const report = page.frameLocator("iframe.webview").frameLocator("iframe").locator("body");
  await report.getByText("swiglu_kernel").first().waitFor();
  await workbench.picture("6-report");
  await page.locator(".tab", { hasText: "Kernel Evolve: report" }).locator(".codicon-close").click();

  await workbench.putCursorOn(KERNEL);
  const actions = await workbench.actions();
  await workbench.picture("7-actions");
  const taken = await workbench.choose(/^apply/i);
  // The server computes the edit when the action is taken: saving before it has arrived would save the old text.
  const after = await workbench.lensMatching(/applied/i, MINUTE);
  await workbench.save();
  await workbench.picture("8-applied");
  return { idle, lenses, verdict, inlay, hover, actions, taken, after, notifications: await workbench.notifications() };
});
