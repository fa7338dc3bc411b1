// A kernel without a task: the line above it says so, and a click writes the task file and opens it.

import { MINUTE, play } from "./vscode_workbench.mjs";

await play(async (workbench) => {
  await workbench.openFile("swiglu.py");
  const lens = await workbench.lensMatching(/task/i, MINUTE);
  const hover = await workbench.hoverOver("def swiglu_kernel", /task/i);
  await workbench.picture("without-task");
  await workbench.page.mouse.move(5, 5);
  await workbench.clickLens(lens);
  await workbench.page.locator(".tab.active", { hasText: "swiglu.evolve.py" }).waitFor();
  await workbench.line('entry = "swiglu"').waitFor();
  await workbench.save();
  await workbench.picture("task-written");
  return { lens, hover, notifications: await workbench.notifications() };
});
