/** Starts the language server and hands it to the editor. What a person sees of kernels comes from the server. */

import * as vscode from "vscode";
import type { LanguageClient } from "vscode-languageclient/node";
import { createClient, SELECTOR } from "./client";
import { findServer, ServerNotFound } from "./server";
import { StatusItem } from "./status";
import { registerWinner } from "./winner";

let session: Session | undefined;

export async function activate(context: vscode.ExtensionContext): Promise<void> {
  const log = vscode.window.createOutputChannel("Kernel Evolve", { log: true });
  const status = new StatusItem([...SELECTOR]);
  const current = new Session(log, status);
  session = current;
  context.subscriptions.push(
    log,
    status,
    registerWinner(),
    vscode.commands.registerCommand("kernelEvolve.editor.restart", () => current.restart()),
    vscode.commands.registerCommand("kernelEvolve.editor.showLog", () => log.show(true)),
    vscode.workspace.onDidGrantWorkspaceTrust(() => current.restart()),
    vscode.workspace.onDidChangeConfiguration(async (event) => {
      if (event.affectsConfiguration("kernelEvolve.server")) {
        await current.restart();
      }
    }),
  );
  await current.start();
}

export async function deactivate(): Promise<void> {
  await session?.stop();
}

/** At most one client at a time; starts and stops are taken one after the other. */
class Session {
  private client: LanguageClient | undefined;
  private last: Promise<void> = Promise.resolve();

  constructor(
    private readonly log: vscode.LogOutputChannel,
    private readonly status: StatusItem,
  ) {}

  start(): Promise<void> {
    return this.next(() => this.startNow());
  }

  stop(): Promise<void> {
    return this.next(() => this.stopNow());
  }

  restart(): Promise<void> {
    return this.next(async () => {
      await this.stopNow();
      await this.startNow();
    });
  }

  private next(step: () => Promise<void>): Promise<void> {
    this.last = this.last.then(step, step);
    return this.last;
  }

  private async startNow(): Promise<void> {
    this.status.starting();
    const folders = (vscode.workspace.workspaceFolders ?? []).map((folder) => folder.uri.fsPath);
    try {
      const server = await findServer(folders, vscode.workspace.isTrusted);
      this.log.info(`Starting ${[server.program, ...server.args].join(" ")} (${server.origin})`);
      this.client = createClient(server, this.log, this.status);
      await this.client.start();
      this.status.started();
      await showCommands(true);
    } catch (error) {
      await this.report(error);
    }
  }

  private async stopNow(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    await showCommands(false);
    // A client that never came up cannot be stopped, and says so by an exception.
    await client?.dispose().catch((error: unknown) => this.log.warn(String(error)));
  }

  private async report(error: unknown): Promise<void> {
    const message = error instanceof Error ? error.message : String(error);
    this.log.error(message);
    this.status.stopped(message);
    if (error instanceof ServerNotFound) {
      // Not awaited: an unanswered message must not keep the extension from activating.
      void offerSetting(error);
    }
  }
}

/** The server's commands exist while it runs; before that the palette would only offer errors. */
async function showCommands(running: boolean): Promise<void> {
  await vscode.commands.executeCommand("setContext", "kernelEvolve.running", running);
}

async function offerSetting(error: ServerNotFound): Promise<void> {
  const open = "Open Setting";
  const answer = await vscode.window.showWarningMessage(error.message, open);
  if (answer === open) {
    await vscode.commands.executeCommand("workbench.action.openSettings", error.setting);
  }
}
