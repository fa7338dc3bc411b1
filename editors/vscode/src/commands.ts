/** What this editor does with the server's commands on their way: fill in the cursor, show diffs its own way. */

import * as vscode from "vscode";
import { placeOfLens, previewWinner } from "./winner";

/** What a command is about, as docs/protocol.md describes it. Zero-based, columns in UTF-16 units. */
interface Target {
  readonly uri?: string;
  readonly kernel?: string;
  readonly position?: { readonly line: number; readonly character: number };
}

/** The server would open the diff as a file of text. */
const SHOWN_AS_DIFF = new Set(["kernelEvolve.review", "kernelEvolve.showDiff"]);

type Send = (command: string, args: unknown[]) => vscode.ProviderResult<unknown>;

export async function executeCommand(command: string, args: unknown[], send: Send): Promise<unknown> {
  const [target, ...rest] = args.length > 0 ? (args as Target[]) : [cursor()];
  if (SHOWN_AS_DIFF.has(command) && (await showDiff(target))) {
    return undefined;
  }
  return send(command, target === undefined ? [] : [target, ...rest]);
}

/** A command from the palette or a key has no arguments: it means the kernel at the cursor. */
function cursor(): Target | undefined {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined) {
    return undefined;
  }
  const { line, character } = editor.selection.active;
  return { uri: editor.document.uri.toString(), position: { line, character } };
}

async function showDiff(target: Target | undefined): Promise<boolean> {
  if (target?.uri === undefined || target.kernel === undefined) {
    return false;
  }
  const place = await placeOfLens(vscode.Uri.parse(target.uri), target.kernel);
  if (place === undefined) {
    return false;
  }
  await previewWinner(place);
  return true;
}
