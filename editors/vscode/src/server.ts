/** Where the language server's command comes from. */

import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import * as path from "node:path";
import * as vscode from "vscode";

/** A command that starts the server on stdio; `origin` says in words where it was found. */
export interface ServerCommand {
  readonly program: string;
  readonly args: readonly string[];
  readonly origin: string;
}

/** No server could be found. `message` names the cause and the next step; `setting` is where to change it. */
export class ServerNotFound extends Error {
  constructor(
    message: string,
    readonly setting: string,
  ) {
    super(message);
  }
}

/**
 * Explicit command, explicit interpreter, the workspace's `.venv`, then PATH.
 *
 * The first three may come from the workspace itself, so an untrusted workspace only gets PATH (VS Code already
 * ignores its settings; its `.venv` is ours to ignore).
 */
export async function findServer(folders: readonly string[], trusted: boolean): Promise<ServerCommand> {
  const settings = vscode.workspace.getConfiguration("kernelEvolve.server");
  const [program, ...args] = settings.get<string[]>("command", []).map((part) => expand(part, folders));
  if (program !== undefined && program !== "") {
    return fromCommand(program, args);
  }
  const python = expand(settings.get<string>("python", ""), folders);
  if (python !== "") {
    return fromPython(python);
  }
  const script = await firstExecutable([
    ...(trusted ? folders.map((folder) => path.join(folder, ".venv", "bin", "kernel-evolve")) : []),
    ...searchPath("kernel-evolve"),
  ]);
  if (script === undefined) {
    throw new ServerNotFound(
      "The kernel-evolve language server is not installed: it is neither in this workspace's .venv nor on PATH. " +
        'Run "pip install kernel-evolve", or name an interpreter that has it in the setting kernelEvolve.server.python.',
      "kernelEvolve.server.python",
    );
  }
  return { program: script, args: ["lsp"], origin: script };
}

async function fromCommand(program: string, args: string[]): Promise<ServerCommand> {
  const setting = "kernelEvolve.server.command";
  const found = await firstExecutable(program.includes("/") ? [program] : searchPath(program));
  if (found === undefined) {
    throw new ServerNotFound(
      `The setting ${setting} names "${program}", which is not an executable file. Correct it, or empty it to let the server be found.`,
      setting,
    );
  }
  return { program: found, args, origin: setting };
}

async function fromPython(python: string): Promise<ServerCommand> {
  const setting = "kernelEvolve.server.python";
  if (!(await hasServer(python))) {
    throw new ServerNotFound(
      `The interpreter in ${setting} ("${python}") cannot import kernel-evolve. ` +
        `Run "${python} -m pip install kernel-evolve", or name another interpreter.`,
      setting,
    );
  }
  return { program: python, args: ["-m", "evolve_server", "lsp"], origin: setting };
}

function hasServer(python: string): Promise<boolean> {
  const probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('evolve_server') is None)";
  return new Promise((resolve) => {
    execFile(python, ["-c", probe], { timeout: 10_000 }, (error) => resolve(error === null));
  });
}

function expand(text: string, folders: readonly string[]): string {
  return text.replaceAll("${workspaceFolder}", folders[0] ?? "");
}

function searchPath(name: string): string[] {
  const folders = (process.env["PATH"] ?? "").split(path.delimiter);
  return folders.filter((folder) => folder !== "").map((folder) => path.join(folder, name));
}

async function firstExecutable(files: readonly string[]): Promise<string | undefined> {
  for (const file of files) {
    try {
      await access(file, constants.X_OK);
      return file;
    } catch {
      // Not there, or not executable: the next one.
    }
  }
  return undefined;
}
