/** The winner of a kernel: preview it as a diff, apply it. Both go through the server's own code action. */

import * as vscode from "vscode";

const KIND = vscode.CodeActionKind.RefactorRewrite.append("kernelEvolve");
const PREVIEW_SCHEME = "kernel-evolve-preview";

/** A place in a kernel: whose winner is meant. */
export interface Place {
  readonly uri: vscode.Uri;
  readonly position: vscode.Position;
}

interface Offer {
  readonly document: vscode.TextDocument;
  readonly title: string;
  readonly edit: vscode.WorkspaceEdit;
}

interface Preview {
  readonly place: Place;
  readonly text: string;
}

/** The open previews, by their URI. */
const previews = new Map<string, Preview>();

export function registerWinner(): vscode.Disposable {
  const provider: vscode.TextDocumentContentProvider = {
    provideTextDocumentContent: (uri) => previews.get(uri.toString())?.text ?? "",
  };
  return vscode.Disposable.from(
    vscode.workspace.registerTextDocumentContentProvider(PREVIEW_SCHEME, provider),
    vscode.workspace.onDidCloseTextDocument((document) => previews.delete(document.uri.toString())),
    vscode.commands.registerCommand("kernelEvolve.editor.preview", () => withPlace(previewWinner)),
    vscode.commands.registerCommand("kernelEvolve.editor.apply", () => withPlace(applyWinner)),
    vscode.commands.registerCommand("kernelEvolve.editor.applyPreviewed", applyPreviewed),
  );
}

/** Shows what the winner would change, beside the text as it is now. */
export async function previewWinner(place: Place): Promise<void> {
  const offer = await offerAt(place);
  if (offer === undefined) {
    return;
  }
  const current = offer.document.uri;
  const preview = current.with({ scheme: PREVIEW_SCHEME, query: `version=${offer.document.version}` });
  previews.set(preview.toString(), { place, text: textAfter(offer.document, offer.edit.get(current)) });
  await vscode.commands.executeCommand("vscode.diff", current, preview, offer.title, { preview: true });
}

async function applyWinner(place: Place): Promise<void> {
  const offer = await offerAt(place);
  if (offer !== undefined) {
    await vscode.workspace.applyEdit(offer.edit);
  }
}

/** The button of a preview. The winner is asked for anew: the text may have changed since the preview was opened. */
async function applyPreviewed(uri: vscode.Uri): Promise<void> {
  const preview = previews.get(uri.toString());
  if (preview !== undefined) {
    await vscode.commands.executeCommand("workbench.action.closeActiveEditor");
    await vscode.window.showTextDocument(preview.place.uri);
    await applyWinner(preview.place);
  }
}

async function withPlace(use: (place: Place) => Promise<void>): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (editor !== undefined) {
    await use({ uri: editor.document.uri, position: editor.selection.active });
  }
}

/** The place of a kernel that a lens names: the lens itself stands on it. */
export async function placeOfLens(uri: vscode.Uri, kernel: string): Promise<Place | undefined> {
  const lenses = await vscode.commands.executeCommand<vscode.CodeLens[]>("vscode.executeCodeLensProvider", uri);
  const lens = lenses.find(({ command }) => targetKernel(command?.arguments?.[0]) === kernel);
  return lens === undefined ? undefined : { uri, position: lens.range.start };
}

function targetKernel(argument: unknown): string | undefined {
  return typeof argument === "object" && argument !== null && "kernel" in argument ? String(argument.kernel) : undefined;
}

async function offerAt({ uri, position }: Place): Promise<Offer | undefined> {
  const actions = await vscode.commands.executeCommand<vscode.CodeAction[]>(
    "vscode.executeCodeActionProvider",
    uri,
    new vscode.Range(position, position),
    KIND.value,
    10, // resolve: the server computes the edit against the text as it is now, and only then
  );
  const action = actions.find(({ edit }) => edit?.has(uri) === true);
  if (action?.edit === undefined) {
    void vscode.window.showInformationMessage(
      "There is no winner to apply here: put the cursor into a kernel whose verdict says faster and whose source is unchanged since.",
    );
    return undefined;
  }
  return { document: await vscode.workspace.openTextDocument(uri), title: action.title, edit: action.edit };
}

function textAfter(document: vscode.TextDocument, edits: readonly vscode.TextEdit[]): string {
  const lastFirst = [...edits].sort((a, b) => b.range.start.compareTo(a.range.start));
  return lastFirst.reduce(
    (text, { range, newText }) =>
      text.slice(0, document.offsetAt(range.start)) + newText + text.slice(document.offsetAt(range.end)),
    document.getText(),
  );
}
