// No server to be found: one message that says what to do.

import { MINUTE, play } from "./vscode_workbench.mjs";

await play(async (workbench) => {
  await workbench.openFile("swiglu.py");
  await workbench.page.locator(".notification-toast").first().waitFor({ timeout: MINUTE });
  await workbench.page.waitForTimeout(2000); // a second message would be one too many
  await workbench.picture("without-server");
  return { notifications: await workbench.notifications() };
});
