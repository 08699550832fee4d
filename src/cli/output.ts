import { type Style, safeJson, safeText, styleOf, wantsColor, wrap } from "./terminal-text.ts";

export interface OutputOptions {
  readonly json: boolean;
  readonly quiet: boolean;
}

/** Results on stdout; what is said about them on stderr. With `json`, stdout carries JSON alone, one object a line. */
export interface Output {
  readonly json: boolean;
  /** Whether stdout is coloured. */
  readonly colored: boolean;
  /** Colours of stdout. */
  readonly style: Style;
  /** Width to lay text out for. */
  readonly columns: number;
  /** True once nobody reads stdout any more: a long listing may stop. */
  readonly closed: boolean;
  /** True when results were lost, because stdout could not be written. */
  readonly failed: boolean;
  /** A line of text; nothing under `json`. What stands in it from elsewhere must be `safeText` already. */
  line(text?: string): Promise<void> | undefined;
  /** A line of JSON with its `format`, which the value may bring along; nothing without `json`. */
  object(format: string, value: object): Promise<void> | undefined;
  /** A document (a note, a policy, a receipt), whatever `json` says: byte for byte, but escaped for a terminal. */
  document(text: string): Promise<void> | undefined;
  /** A remark on stderr; none with `quiet`. */
  note(text: string): void;
  warn(text: string): void;
  error(text: string, hint?: string): void;
  /** How far a long run has come, on a terminal alone. */
  progress(label: string): Progress;
  /** Resolves when all of stdout was handed over. */
  flush(): Promise<void>;
}

export interface Progress {
  update(done: number, total?: number): void;
  /** Removes the line. */
  end(): void;
}

/** Lines are handed over together: a system call for each would halve the rate of a long listing. */
const FLUSH_UNITS = 64 * 1024;
const COLUMNS_DEFAULT = 100;
const COLUMNS_MIN = 60;
const COLUMNS_MAX = 120;
/** A run that takes less shows no progress, and it is not redrawn more often. */
const PROGRESS_AFTER_MS = 300;
const PROGRESS_EVERY_MS = 100;

export function createOutput({ json, quiet }: OutputOptions): Output {
  const { stdout, stderr, env } = process;
  const remarks = styleOf(wantsColor(stderr, env));
  const colored = !json && wantsColor(stdout, env);
  const columns = Math.min(COLUMNS_MAX, Math.max(COLUMNS_MIN, stdout.columns || COLUMNS_DEFAULT));
  let pending = "";
  let isScheduled = false;
  let isClosed = false;
  let isFailed = false;
  let drawn: Progress | null = null;

  // A reader that goes away (`| head`) is no error.
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE" && error.code !== "ERR_STREAM_DESTROYED" && !isClosed) {
      isFailed = true;
      remark("error:", `standard output cannot be written (${error.code})`);
    }
    isClosed = true;
  });
  stderr.on("error", () => {});

  function write(text: string): Promise<void> | undefined {
    if (isClosed) return undefined;
    pending += text;
    if (pending.length >= FLUSH_UNITS) return flush();
    if (!isScheduled) {
      isScheduled = true;
      setImmediate(() => {
        isScheduled = false;
        void flush();
      });
    }
    return undefined;
  }

  async function flush(): Promise<void> {
    const text = pending;
    pending = "";
    if (text === "" || isClosed) return;
    if (stdout.write(text)) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        for (const event of ["drain", "close", "error"]) stdout.off(event, done);
        resolve();
      };
      for (const event of ["drain", "close", "error"]) stdout.on(event, done);
    });
  }

  function remark(head: string, text: string): void {
    drawn?.end();
    // A remark follows the result it is about.
    void flush();
    const width = stderr.isTTY ? Math.min(COLUMNS_MAX, stderr.columns || COLUMNS_DEFAULT) : Number.POSITIVE_INFINITY;
    const [first = "", ...rest] = wrap(safeText(text), width - head.length - 2);
    const label = head === "" ? "" : `${LABELS[head]?.(remarks) ?? head} `;
    stderr.write(`${label}${[first, ...rest.map((line) => `  ${line}`)].join("\n")}\n`);
  }

  return {
    json,
    columns,
    colored,
    style: styleOf(colored),
    get closed() {
      return isClosed;
    },
    get failed() {
      return isFailed;
    },
    line: (text = "") => (json ? undefined : write(`${text}\n`)),
    object: (format, value) =>
      json ? write(`${safeJson(JSON.stringify({ format: `tallystick/${format}/v1`, ...value }))}\n`) : undefined,
    document: (text) => write(stdout.isTTY ? safeJson(text) : text),
    note: (text) => {
      if (!quiet) remark("", text);
    },
    warn: (text) => remark("warning:", text),
    error: (text, hint) => {
      remark("error:", text);
      if (hint !== undefined) remark("hint:", hint);
    },
    progress: (label) => {
      const isShown = stderr.isTTY && !quiet && env.TERM !== "dumb";
      let nextMs = performance.now() + PROGRESS_AFTER_MS;
      let isDrawn = false;
      const progress: Progress = {
        update: (done, total) => {
          const now = performance.now();
          if (!isShown || now < nextMs) return;
          nextMs = now + PROGRESS_EVERY_MS;
          isDrawn = true;
          stderr.write(`\r\x1b[K${remarks.dim(`${label} ${meter(done, total)}`)}`);
        },
        end: () => {
          if (isDrawn) stderr.write("\r\x1b[K");
          isDrawn = false;
        },
      };
      drawn = progress;
      return progress;
    },
    flush,
  };
}

const LABELS: Readonly<Record<string, (style: Style) => string>> = {
  "warning:": (style) => style.yellow("warning:"),
  "error:": (style) => style.red("error:"),
  "hint:": (style) => style.cyan("hint:"),
};

const METER_CELLS = 24;

function meter(done: number, total: number | undefined): string {
  if (total === undefined || total === 0) return done.toLocaleString("en-US");
  const filled = Math.round((METER_CELLS * Math.min(done, total)) / total);
  const percent = Math.floor((100 * done) / total);
  return `${"━".repeat(filled)}${"┄".repeat(METER_CELLS - filled)} ${percent} % of ${total.toLocaleString("en-US")}`;
}
