// Address family is a value, never a suffix on a name: every function that treats IPv4 and IPv6 alike takes a Family, and everything held per
// family is a PerFamily. A family that is switched off is simply absent.

export type Family = "ipv4" | "ipv6";

export const FAMILIES: readonly Family[] = ["ipv4", "ipv6"];

/** One value for each family in use; a family that is off, or unknown, is absent. */
export type PerFamily<T> = { readonly [F in Family]?: T };

/** Address width in bits: 32 or 128. */
export const ADDRESS_BITS: Record<Family, number> = { ipv4: 32, ipv6: 128 };

/** The families that `values` holds, IPv4 first. */
export function familiesOf(values: PerFamily<unknown>): Family[] {
  return FAMILIES.filter((family) => values[family] !== undefined);
}

/** Applies `convert` to each family's value; a family for which it returns undefined is left out. */
export function mapFamilies<T, U>(
  values: PerFamily<T>,
  convert: (value: T, family: Family) => U | undefined,
): PerFamily<U> {
  const result: { ipv4?: U; ipv6?: U } = {};
  for (const family of FAMILIES) {
    const value = values[family];
    const converted = value === undefined ? undefined : convert(value, family);
    if (converted !== undefined) result[family] = converted;
  }
  return result;
}
