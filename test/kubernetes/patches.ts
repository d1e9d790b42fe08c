// JSON merge patch (RFC 7396), and Kubernetes' strategic form of it as far as a Node has it: lists with a merge key are merged by it (core/v1 types' patchMergeKey).

/** Member → merge key, by path from the top. */
const MERGE_KEYS: Readonly<Record<string, string>> = {
  "status.conditions": "type",
  "status.addresses": "type",
  "metadata.ownerReferences": "uid",
};

/** Lists of plain values that are merged as sets. */
const SETS = new Set(["spec.podCIDRs", "metadata.finalizers"]);

type Json = Readonly<Record<string, unknown>>;

export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = mergePatch(result[name], value);
  }
  return result;
}

export function strategicPatch(target: unknown, patch: unknown, path = ""): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(target) ? { ...target } : {};
  if (patch.$patch === "replace") {
    const { $patch: _, ...rest } = patch;
    return rest;
  }
  for (const [name, value] of Object.entries(patch)) {
    if (name.startsWith("$")) continue; // directives on the order of lists
    const at = path === "" ? name : `${path}.${name}`;
    if (value === null) delete result[name];
    else if (Array.isArray(value)) result[name] = mergedList(at, result[name], value);
    else result[name] = strategicPatch(result[name], value, at);
  }
  return result;
}

function mergedList(at: string, target: unknown, patch: readonly unknown[]): unknown {
  const before: readonly unknown[] = Array.isArray(target) ? target : [];
  if (SETS.has(at)) return [...new Set([...before, ...patch])];
  const key = MERGE_KEYS[at];
  if (key === undefined) return patch;
  const merged = [...before];
  for (const item of patch) {
    if (!isObject(item)) continue;
    const i = merged.findIndex((other) => isObject(other) && other[key] === item[key]);
    if (item.$patch === "delete") {
      if (i >= 0) merged.splice(i, 1);
    } else if (i >= 0) merged[i] = strategicPatch(merged[i], item, at);
    else merged.unshift(item); // kube-apiserver puts new ones first
  }
  return merged;
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
