/** The interpreter that the Python extension has chosen, as a hint to the server: it yields to anything more explicit. */

import * as vscode from "vscode";
import type { ConfigurationItem } from "vscode-languageclient/node";

/** The part of the Python extension's API that is read here. */
interface PythonExtension {
  readonly environments?: {
    getActiveEnvironmentPath(resource?: vscode.Uri): { readonly path: string } | undefined;
  };
}

/** Adds `editorPython` to the section `kernelEvolve` where the editor has an interpreter to name. */
export function withEditorPython(section: unknown, item: ConfigurationItem | undefined): unknown {
  if (item?.section !== "kernelEvolve" || typeof section !== "object") {
    return section;
  }
  const resource = item.scopeUri === undefined ? undefined : vscode.Uri.parse(item.scopeUri);
  const editorPython = chosenInterpreter(resource);
  return editorPython === undefined ? section : { ...section, editorPython };
}

function chosenInterpreter(resource: vscode.Uri | undefined): string | undefined {
  const python = vscode.extensions.getExtension<PythonExtension>("ms-python.python");
  // Never activated from here, never waited for: it may take minutes, and the server can do without.
  const active = python?.isActive === true ? python.exports : undefined;
  return active?.environments?.getActiveEnvironmentPath(resource)?.path;
}
