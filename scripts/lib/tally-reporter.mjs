import { writeFileSync } from "node:fs";

/**
 * A vitest reporter that writes what the last line of `npm test` is made of, as JSON, to
 * the file named by TALLYSTICK_TEST_TALLY: counts, and
 * each skipped test with its reason. vitest's own JSON report leaves out the reason.
 */
export default class TallyReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const tally = { passed: 0, failed: 0, skipped: [], failures: [] };
    for (const module of modules) {
      const name = module.relativeModuleId;
      // A file or a hook that breaks before its tests run skips them: that is a failure of its own.
      const errors = [module, ...module.children.allSuites()].flatMap((suite) => suite.errors());
      for (const error of errors) fail(tally, `${name}: ${error.message}`);
      const skipReason = errors.length === 0 ? null : "an earlier error in their file";
      for (const test of module.children.allTests())
        count(tally, `${name} > ${test.fullName}`, test.result(), skipReason);
    }
    for (const error of unhandledErrors) fail(tally, `unhandled error: ${error.message}`);
    writeFileSync(process.env.TALLYSTICK_TEST_TALLY, JSON.stringify(tally));
  }
}

function count(tally, name, result, skipReason) {
  if (result.state === "passed") tally.passed += 1;
  else if (result.state === "failed") fail(tally, name);
  else tally.skipped.push({ name, reason: result.note ?? /\((needs [^)]+)\)/.exec(name)?.[1] ?? skipReason });
}

function fail(tally, name) {
  tally.failed += 1;
  tally.failures.push(name);
}
