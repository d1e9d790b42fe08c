// How long a certificate lives: Go's durations as cfssl has them ("8760h", "1h30m"), and days and years for people ("365d", "10y").

const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

/** Years are 365 days, as in cfssl's defaults: 87600h is 10y. */
const UNITS = { y: 365 * DAY_MS, d: DAY_MS, h: HOUR_MS, m: 60_000, s: 1000 } as const;

/** cfssl's: a year, and five for an authority. */
export const DEFAULT_EXPIRY_MS = UNITS.y;
export const DEFAULT_AUTHORITY_EXPIRY_MS = 5 * UNITS.y;

/** Longer, and the end would come near the year 9999, where the format ends. */
const MAX_EXPIRY_MS = 1000 * UNITS.y;

/** A certificate made on one machine is used on another whose clock may be behind; as long as cfssl grants. */
const BACKDATE_MS = 5 * 60_000;

export const EXPIRY_WANTED = 'a time such as "8760h", "365d" or "10y"';

/** Milliseconds, or undefined when the text is no duration, none that is positive, or one of more than a thousand years. */
export function parseExpiry(text: string): number | undefined {
  if (!/^(?:\d{1,9}[ydhms])+$/.test(text)) return undefined;
  let sumMs = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)([ydhms])/g))
    sumMs += Number(count) * UNITS[unit as keyof typeof UNITS];
  return sumMs > 0 && sumMs <= MAX_EXPIRY_MS ? sumMs : undefined;
}

/** A life that began a little before `now` and lasts `expiryMs` from there on, as cfssl counts. */
export function lifetimeFrom(now: Date, expiryMs: number): { readonly notBefore: Date; readonly notAfter: Date } {
  const startMs = now.getTime() - BACKDATE_MS;
  return { notBefore: new Date(startMs), notAfter: new Date(startMs + expiryMs) };
}
