// What a CNI plugin answers when it cannot do what it was asked: a code of the specification, a text, details. The runtime shows both to its user.

/** Codes of the CNI specification, version 1.1.0, section "Error"; below 100 they are the specification's, 999 is what its library takes for all else. */
export const CNI_CODE = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  environment: 4,
  io: 5,
  decode: 6,
  invalidConfig: 7,
  invalidNetns: 8,
  tryAgain: 11,
  /** STATUS: ADD cannot be served. */
  notAvailable: 50,
  /** STATUS: as 50, and containers that run may have lost connections. */
  limited: 51,
  internal: 999,
} as const;

export class CniError extends Error {
  readonly code: number;
  readonly details: string | undefined;

  constructor(code: number, message: string, details?: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "CniError";
    this.code = code;
    this.details = details;
  }
}

/** `error` as one that a runtime understands; a CniError, also one that another plugin answered, stays as it is. */
export function cniErrorOf(error: unknown): CniError {
  if (error instanceof CniError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new CniError(CNI_CODE.internal, message, undefined, { cause: error });
}

/** The JSON that goes to standard output; `version` is the one asked for. */
export function formatCniError({ code, message, details }: CniError, version: string): string {
  return JSON.stringify(
    { cniVersion: version, code, msg: message, ...(details !== undefined && { details }) },
    undefined,
    4,
  );
}
