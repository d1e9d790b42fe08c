// What the API server says when it refuses: Status objects in the words that were recorded of a real one.

export class ApiFailure extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: object | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    code: number,
    reason: string,
    message: string,
    details?: object,
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.details = details;
    this.headers = headers;
  }

  get status(): object {
    const { code, reason, message, details } = this;
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message,
      reason,
      ...(details && { details }),
      code,
    };
  }
}

export const notFound = (name: string, kind = "nodes") =>
  new ApiFailure(404, "NotFound", `${kind} "${name}" not found`, { name, kind });

export const unauthorized = () => new ApiFailure(401, "Unauthorized", "Unauthorized");

export const forbidden = (user: string, verb: string, kind: string, name?: string, subresource?: string) => {
  const what = subresource === undefined ? kind : `${kind}/${subresource}`;
  const named = name === undefined ? "" : ` "${name}"`;
  const text = `${kind}${named} is forbidden: User "${user}" cannot ${verb} resource "${what}" in API group "" at the cluster scope`;
  return new ApiFailure(403, "Forbidden", text, { ...(name !== undefined && { name }), kind });
};

/** As priority and fairness has it. */
export const tooManyRequests = (code: number) =>
  new ApiFailure(
    code,
    "TooManyRequests",
    "too many requests, please try again later.",
    { retryAfterSeconds: 1 },
    { "retry-after": "1" },
  );

/** No form that the client accepts is one that the server has. */
export const notAcceptable = (
  message = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf",
) => new ApiFailure(406, "NotAcceptable", message);

export const unsupportedMediaType = () =>
  new ApiFailure(415, "UnsupportedMediaType", "415: Unsupported Media Type", {});

export const tooLarge = (asked: number, current: number) =>
  new ApiFailure(
    504,
    "Timeout",
    `Timeout: Too large resource version: ${asked}, current: ${current}`,
    { causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }], retryAfterSeconds: 1 },
    { "retry-after": "1" },
  );

export const expired = (asked: number, oldest: number) =>
  new ApiFailure(410, "Expired", `too old resource version: ${asked} (${oldest})`);

export const conflict = (name: string) =>
  new ApiFailure(
    409,
    "Conflict",
    `Operation cannot be fulfilled on nodes "${name}": the object has been modified; please apply your changes to the latest version and try again`,
    { name, kind: "nodes" },
  );

const NO_INFO = Object.fromEntries(
  [
    ...["machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion"],
    ...["kubeletVersion", "kubeProxyVersion", "operatingSystem", "architecture"],
  ].map((name) => [name, ""]),
);

/** The Node in a BOOKMARK: empty but for its version. */
export function bookmark(version: number, annotations?: object): object {
  const metadata = { resourceVersion: `${version}`, ...(annotations && { annotations }) };
  return {
    kind: "Node",
    apiVersion: "v1",
    metadata,
    spec: {},
    status: { daemonEndpoints: { kubeletEndpoint: { Port: 0 } }, nodeInfo: NO_INFO },
  };
}
