/** Readers of foreign histories: each yields events to append. */
export { type GitHistoryOptions, type GitRepository, gitHistory, inspectGitRepository } from "./git.ts";
export { SAMPLE_COUNT_MAX, sampleEvents } from "./samples.ts";
