/** Dates and times as digits in fixed places: what ledger times and RFC 3339 have in common. */

export function isDigit(unit: number): boolean {
  return unit >= 0x30 && unit <= 0x39;
}

/** Whether the text has at `start` a digit for each 0 of `layout`, and its other characters as they are. */
export function hasLayout(text: string, layout: string, start: number): boolean {
  for (let i = 0; i < layout.length; i++) {
    const expected = layout.charCodeAt(i);
    const unit = text.charCodeAt(start + i);
    if (expected === 0x30 ? !isDigit(unit) : unit !== expected) return false;
  }
  return true;
}

/** Value of the two decimal digits at `at`. */
export function twoDigits(text: string, at: number): number {
  return (text.charCodeAt(at) - 0x30) * 10 + text.charCodeAt(at + 1) - 0x30;
}

/** Whether the text begins with a date of the proleptic Gregorian calendar; its layout was looked at. */
export function isRealDate(text: string): boolean {
  const day = twoDigits(text, 8);
  return day >= 1 && day <= daysInMonth(twoDigits(text, 0) * 100 + twoDigits(text, 2), twoDigits(text, 5));
}

const MONTH_DAYS: readonly number[] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** Number of days of a month 1..12 in the proleptic Gregorian calendar; 0 for any other month. */
export function daysInMonth(year: number, month: number): number {
  if (month === 2 && year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)) return 29;
  return MONTH_DAYS[month - 1] ?? 0;
}
