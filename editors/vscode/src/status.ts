/** The language status item: how the server is, and how many runs are active. */

import * as vscode from "vscode";

const FINAL_STATES = new Set(["done", "failed", "cancelled", "interrupted"]);

/** `experimental/serverStatus`, in rust-analyzer's shape. */
interface ServerStatus {
  readonly health: "ok" | "warning" | "error";
  readonly quiescent?: boolean;
  readonly message?: string;
}

/** `$/kernelEvolve/runChanged`; see docs/protocol.md. Only these fields are read here. */
interface RunChanged {
  readonly runId: string;
  readonly state: string;
  readonly kernels: readonly string[];
  readonly message: string;
}

const SEVERITY = {
  ok: vscode.LanguageStatusSeverity.Information,
  warning: vscode.LanguageStatusSeverity.Warning,
  error: vscode.LanguageStatusSeverity.Error,
} as const;

export class StatusItem implements vscode.Disposable {
  private readonly item: vscode.LanguageStatusItem;
  private readonly active = new Map<string, RunChanged>();
  private problem: string | undefined;

  constructor(selector: vscode.DocumentSelector) {
    this.item = vscode.languages.createLanguageStatusItem("kernelEvolve.status", selector);
    this.item.name = "Kernel Evolve";
    this.item.command = { command: "kernelEvolve.editor.showLog", title: "Log" };
    this.starting();
  }

  starting(): void {
    this.item.busy = true;
    this.item.text = "Kernel Evolve: starting";
    this.item.detail = "";
    this.item.severity = SEVERITY.ok;
  }

  stopped(message = "not running"): void {
    this.active.clear();
    this.item.busy = false;
    this.item.text = "Kernel Evolve: stopped";
    this.item.detail = message;
    this.item.severity = SEVERITY.error;
  }

  started(): void {
    this.item.severity = SEVERITY.ok;
    this.show();
  }

  serverStatus({ health, message }: ServerStatus): void {
    this.item.severity = SEVERITY[health] ?? SEVERITY.ok;
    this.problem = health === "ok" ? undefined : message;
    this.show();
  }

  runChanged(run: RunChanged): void {
    if (FINAL_STATES.has(run.state)) {
      this.active.delete(run.runId);
    } else {
      this.active.set(run.runId, run);
    }
    this.show();
  }

  dispose(): void {
    this.item.dispose();
  }

  private show(): void {
    const runs = [...this.active.values()];
    this.item.busy = runs.length > 0;
    this.item.text = runs.length === 0 ? "Kernel Evolve" : `Kernel Evolve: ${counted(runs.length, "run")}`;
    this.item.detail = this.problem ?? runs.map(describe).join(" · ");
  }
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function describe({ kernels, message }: RunChanged): string {
  return `${kernels[0] ?? "kernel"}: ${message}`;
}
