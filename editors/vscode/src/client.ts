/** The language client: everything it shows comes from the server; this file only connects the two. */

import * as vscode from "vscode";
import { LanguageClient, RevealOutputChannelOn, State } from "vscode-languageclient/node";
import type {
  LanguageClientOptions,
  ServerOptions,
  ShowDocumentParams,
  ShowDocumentRequest,
  ShowDocumentResult,
} from "vscode-languageclient/node";
import { executeCommand } from "./commands";
import { withEditorPython } from "./interpreter";
import { showReport } from "./report";
import type { ServerCommand } from "./server";
import type { StatusItem } from "./status";

export const SELECTOR = [
  { scheme: "file", language: "python" },
  { scheme: "file", language: "cuda-cpp" },
] as const;

async function showDocument(
  parameters: ShowDocumentParams,
  next: ShowDocumentRequest.HandlerSignature,
): Promise<ShowDocumentResult> {
  if (await showReport(parameters)) {
    return { success: true };
  }
  const answer = await next(parameters, new vscode.CancellationTokenSource().token);
  return answer instanceof Error ? { success: false } : answer;
}

function settings(): unknown {
  const plain: unknown = JSON.parse(JSON.stringify(vscode.workspace.getConfiguration("kernelEvolve")));
  return withEditorPython(plain, { section: "kernelEvolve" });
}

export function createClient(
  server: ServerCommand,
  log: vscode.OutputChannel,
  status: StatusItem,
): LanguageClient {
  const serverOptions: ServerOptions = { command: server.program, args: [...server.args] };
  const options: LanguageClientOptions = {
    documentSelector: [...SELECTOR],
    outputChannel: log,
    // A background tool never takes the focus; what went wrong is in the status item and in the log.
    revealOutputChannelOn: RevealOutputChannelOn.Never,
    // The settings come with the first message: a run started at once must not miss them.
    initializationOptions: { trusted: vscode.workspace.isTrusted, kernelEvolve: settings() },
    synchronize: { configurationSection: "kernelEvolve" },
    middleware: {
      executeCommand,
      window: { showDocument },
      workspace: {
        configuration: async (params, token, next) => {
          const answer = await next(params, token);
          return Array.isArray(answer)
            ? answer.map((section, index) => withEditorPython(section, params.items[index]))
            : answer;
        },
      },
    },
  };
  const client = new LanguageClient("kernelEvolve", "Kernel Evolve", serverOptions, options);
  client.onNotification("experimental/serverStatus", (parameters) => status.serverStatus(parameters));
  client.onNotification("$/kernelEvolve/runChanged", (parameters) => status.runChanged(parameters));
  client.onDidChangeState(({ newState }) => {
    if (newState === State.Stopped) {
      status.stopped();
    }
  });
  return client;
}
