// Versions of objects in Kubernetes. Of one server they are numbers that grow (since Kubernetes 1.35 by contract, before that in fact); others say nothing. Pure.

export function isOlder(version: string, than: string): boolean {
  if (!isNumber(version) || !isNumber(than)) return false;
  return version.length === than.length ? version < than : version.length < than.length;
}

/** Without a zero in front, as etcd's revisions are written: then the longer one is the greater. */
function isNumber(version: string): boolean {
  return /^(?:0|[1-9]\d*)$/.test(version);
}
