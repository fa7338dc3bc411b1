/** Apply or preview the winner of the kernel at the cursor, by the server's own code action. */

import * as vscode from "vscode";

const KIND = vscode.CodeActionKind.RefactorRewrite.append("kernelEvolve");
const PREVIEW_SCHEME = "kernel-evolve-preview";

export async function applyWinner(): Promise<void> {
  const offer = await winnerAtCursor();
  if (offer !== undefined) {
    await vscode.workspace.applyEdit(offer.edit);
  }
}

export function registerPreview(): vscode.Disposable {
  const texts = new Map<string, string>();
  const provider: vscode.TextDocumentContentProvider = {
    provideTextDocumentContent: (uri) => texts.get(uri.toString()) ?? "",
  };
  return vscode.Disposable.from(
    vscode.workspace.registerTextDocumentContentProvider(PREVIEW_SCHEME, provider),
    vscode.workspace.onDidCloseTextDocument((document) => texts.delete(document.uri.toString())),
    vscode.commands.registerCommand("kernelEvolve.editor.preview", () => previewWinner(texts)),
  );
}

async function previewWinner(texts: Map<string, string>): Promise<void> {
  const offer = await winnerAtCursor();
  if (offer === undefined) {
    return;
  }
  const current = offer.document.uri;
  const preview = current.with({ scheme: PREVIEW_SCHEME, query: `version=${offer.document.version}` });
  texts.set(preview.toString(), textAfter(offer.document, offer.edit.get(current)));
  await vscode.commands.executeCommand("vscode.diff", current, preview, offer.title, { preview: true });
}

interface Offer {
  readonly document: vscode.TextDocument;
  readonly title: string;
  readonly edit: vscode.WorkspaceEdit;
}

async function winnerAtCursor(): Promise<Offer | undefined> {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined) {
    return undefined;
  }
  const { document, selection } = editor;
  const actions = await vscode.commands.executeCommand<vscode.CodeAction[]>(
    "vscode.executeCodeActionProvider",
    document.uri,
    selection,
    KIND.value,
    10, // resolve: the server computes the edit against the text as it is now, and only then
  );
  const action = actions.find(({ edit }) => edit?.has(document.uri) === true);
  if (action?.edit === undefined) {
    void vscode.window.showInformationMessage(
      "There is no winner to apply here: put the cursor into a kernel whose verdict says faster and whose source is unchanged since.",
    );
    return undefined;
  }
  return { document, title: action.title, edit: action.edit };
}

function textAfter(document: vscode.TextDocument, edits: readonly vscode.TextEdit[]): string {
  const lastFirst = [...edits].sort((a, b) => b.range.start.compareTo(a.range.start));
  return lastFirst.reduce(
    (text, { range, newText }) =>
      text.slice(0, document.offsetAt(range.start)) + newText + text.slice(document.offsetAt(range.end)),
    document.getText(),
  );
}
