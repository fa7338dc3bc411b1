/** A run's report beside the code. A browser could not open it where the workspace is on another machine. */

import * as vscode from "vscode";
import type { ShowDocumentParams } from "vscode-languageclient/node";

const panels = new Map<string, vscode.WebviewPanel>();

/** Shows a report in a panel. False where the document is none, and is shown some other way. */
export async function showReport({ uri, external }: ShowDocumentParams): Promise<boolean> {
  if (external !== true || !uri.endsWith(".html")) {
    return false;
  }
  const file = vscode.Uri.parse(uri);
  const html = new TextDecoder().decode(await vscode.workspace.fs.readFile(file));
  const panel = panels.get(uri) ?? openPanel(uri);
  panel.webview.html = html;
  panel.reveal();
  return true;
}

function openPanel(uri: string): vscode.WebviewPanel {
  // No scripts: the report is pictures and text, and shows source that nobody has vouched for.
  const options = { enableScripts: false, enableFindWidget: true, localResourceRoots: [] };
  const column = vscode.ViewColumn.Beside;
  const panel = vscode.window.createWebviewPanel("kernelEvolve.report", "Kernel Evolve: report", column, options);
  panels.set(uri, panel);
  panel.onDidDispose(() => panels.delete(uri));
  return panel;
}
