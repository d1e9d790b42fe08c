// The known word that a misspelt one was probably meant to be, for "did you mean".

/** The word of `known` nearest to `word`, or undefined when none is near: at most one slip in three letters. Case does not count. */
export function nearestWord(word: string, known: Iterable<string>): string | undefined {
  const lower = word.toLowerCase();
  let nearest: string | undefined;
  let fewest = Math.max(1, Math.floor(lower.length / 3)) + 1;
  for (const candidate of known) {
    // The difference in length alone is a lower bound.
    if (Math.abs(candidate.length - lower.length) >= fewest) continue;
    const slips = editDistance(lower, candidate.toLowerCase());
    if (slips < fewest) [nearest, fewest] = [candidate, slips];
  }
  return nearest;
}

/** Slips from `a` to `b`: letters left out, put in, exchanged, or two neighbours swapped (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const at = (values: number[], column: number) => values[column] ?? Number.POSITIVE_INFINITY;
      let slips = Math.min(at(last, j) + 1, at(row, j - 1) + 1, at(last, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        slips = Math.min(slips, at(beforeLast, j - 2) + 1);
      row.push(slips);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length] ?? 0;
}
