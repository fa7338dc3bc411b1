/** A command from the palette or a key has no arguments: it means the kernel at the cursor. */

import * as vscode from "vscode";

/** Where a command applies; the server finds the kernel there. Zero-based, columns in UTF-16 units. */
interface Place {
  readonly uri: string;
  readonly position: { readonly line: number; readonly character: number };
}

export function withCursor(args: unknown[]): unknown[] {
  const editor = vscode.window.activeTextEditor;
  if (args.length > 0 || editor === undefined) {
    return args;
  }
  const { line, character } = editor.selection.active;
  const place: Place = { uri: editor.document.uri.toString(), position: { line, character } };
  return [place];
}
