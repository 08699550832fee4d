/** Dates and times as digits in fixed places: what ledger times and RFC 3339 have in common. */

export function isDigit(unit: number): boolean {
  return unit >= 0x30 && unit <= 0x39;
}

/** Value of the two decimal digits at `at`; NaN if they are none, which no comparison holds for. */
export function twoDigits(text: string, at: number): number {
  const tens = text.charCodeAt(at);
  const ones = text.charCodeAt(at + 1);
  return isDigit(tens) && isDigit(ones) ? (tens - 0x30) * 10 + ones - 0x30 : Number.NaN;
}

/** Whether `0000-00-00` stands at the beginning of the text, whatever the digits, and `00:00:00` from its twelfth character on. */
export function hasDateTimeLayout(text: string): boolean {
  return (
    twoDigits(text, 0) >= 0 &&
    twoDigits(text, 2) >= 0 &&
    text.charCodeAt(4) === 0x2d &&
    twoDigits(text, 5) >= 0 &&
    text.charCodeAt(7) === 0x2d &&
    twoDigits(text, 8) >= 0 &&
    twoDigits(text, 11) >= 0 &&
    text.charCodeAt(13) === 0x3a &&
    twoDigits(text, 14) >= 0 &&
    text.charCodeAt(16) === 0x3a &&
    twoDigits(text, 17) >= 0
  );
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
