/** Evidence for auditors: packages that are verified offline, with keys that the auditor pins. */

export {
  type EvidencePackageOptions,
  type WrittenPackage,
  writeEvidencePackage,
} from "./evidence-package.ts";
