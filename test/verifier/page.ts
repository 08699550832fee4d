import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The part of playwright-core that these tests use; the package is loaded only where they run. */
export interface Page {
  goto(url: string): Promise<unknown>;
  reload(): Promise<unknown>;
  setViewportSize(size: { readonly width: number; readonly height: number }): Promise<void>;
  on(event: "request", listener: (request: { url(): string }) => void): void;
  on(event: "pageerror", listener: (error: Error) => void): void;
  on(event: "console", listener: (message: { type(): string; text(): string }) => void): void;
  evaluate<T, A>(run: (argument: A) => T | Promise<T>, argument: A): Promise<T>;
  evaluate<T>(run: () => T | Promise<T>): Promise<T>;
  setInputFiles(selector: string, files: readonly PageFile[] | readonly string[]): Promise<void>;
  waitForSelector(selector: string, options?: { timeout?: number }): Promise<unknown>;
  click(selector: string): Promise<void>;
  fill(selector: string, text: string): Promise<void>;
  textContent(selector: string): Promise<string | null>;
}

export interface PageFile {
  readonly name: string;
  readonly mimeType: string;
  readonly buffer: Buffer;
}

interface Browser {
  newPage(): Promise<Page>;
  close(): Promise<void>;
}

const NAMES = ["chromium", "chromium-browser", "google-chrome"];
const isThere = (command: string) => spawnSync(command, ["--version"]).status === 0;

/** The browser on this machine, or null. */
export const CHROMIUM: string | null = [process.env.TALLYSTICK_CHROMIUM ?? "chromium", ...NAMES].find(isThere) ?? null;

export const PAGE_URL: string = new URL("../../verifier/verify.html", import.meta.url).href;

/** A page on verify.html from file://, the addresses that it asked for, and what went wrong in it. */
export interface Opened {
  readonly page: Page;
  readonly requests: string[];
  readonly errors: string[];
  close(): Promise<void>;
}

export async function openPage(): Promise<Opened> {
  const module: string = "playwright-core"; // by name only: types and library are not needed where no browser is
  const { chromium } = (await import(module)) as { chromium: { launch(options: object): Promise<Browser> } };
  const command = spawnSync("which", [CHROMIUM!]).stdout.toString().trim();
  const isRoot = process.getuid?.() === 0;
  const browser = await chromium.launch({ executablePath: command, args: isRoot ? ["--no-sandbox"] : [] });
  const page = await browser.newPage();
  const requests: string[] = [];
  const errors: string[] = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  await page.goto(PAGE_URL);
  return { page, requests, errors, close: () => browser.close() };
}

export interface Job {
  readonly title: string;
  readonly file: Uint8Array;
  readonly policy: string | null;
  readonly selfAsserted?: boolean;
  readonly held?: string;
  /** PEM certificates, and a file of headers, that the reader pins. */
  readonly roots?: string;
  readonly headers?: string;
  readonly requireAnchor?: boolean;
}

export interface Answer {
  readonly exit: number;
  readonly error: string | null;
  readonly findings: readonly { code: string; index?: number; found?: string; evidence?: string }[];
  readonly verdicts: Readonly<Record<string, string>>;
  readonly report: Record<string, unknown> | null;
}

/** The page's answers to many files, a few hundred a call. */
export async function askPage(page: Page, jobs: readonly Job[]): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let at = 0; at < jobs.length; at += 200) {
    const batch = jobs.slice(at, at + 200).map((job) => ({ ...job, file: Buffer.from(job.file).toString("base64") }));
    answers.push(...(await page.evaluate(verifyInPage, batch)));
  }
  return answers;
}

/** Runs in the page. */
async function verifyInPage(batch: readonly (Omit<Job, "file"> & { readonly file: string })[]): Promise<Answer[]> {
  interface Result {
    exit: number;
    error?: { code: string };
    report?: { findings: Answer["findings"]; verdicts: Record<string, { status: string }> };
  }
  const { verify } = (globalThis as unknown as { tallystick: { verify(job: object): Promise<Result> } }).tallystick;
  const bytes = (text: string | undefined | null) => (text == null ? null : new TextEncoder().encode(text));
  const answers: Answer[] = [];
  for (const { file, policy, selfAsserted, held, roots, headers, requireAnchor } of batch) {
    const content = Uint8Array.from(atob(file), (character) => character.charCodeAt(0));
    const result = await verify({
      evidence: new Blob([content]),
      policy: bytes(policy),
      allowSelfAsserted: selfAsserted === true,
      held: bytes(held),
      roots: bytes(roots),
      headers: bytes(headers),
      requireAnchor: requireAnchor === true,
    });
    const verdicts = Object.entries(result.report?.verdicts ?? {}).map(([name, { status }]) => [name, status]);
    answers.push({
      exit: result.exit,
      error: result.error?.code ?? null,
      findings: result.report?.findings ?? [],
      verdicts: Object.fromEntries(verdicts),
      report: (result.report as Record<string, unknown> | undefined) ?? null,
    });
  }
  return answers;
}

/** Findings by code and index, in an order of their own. */
export function findingList(findings: readonly { code: string; index?: number }[]): string[] {
  return findings.map(({ code, index }) => `${code} ${index ?? "-"}`).sort();
}

export const repositoryFile = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
