// How a test speaks to the API server that it has started, the double or a real one: over a UNIX socket, requests of the API as the administrator, and
// POST /double/WORD with a JSON body for what fate does.

import type { Fate } from "./fate.ts";

export type Fates = { readonly [Word in keyof Fate]: (how: Fate[Word]) => unknown };

export interface ControlRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly contentType: string | undefined;
  readonly body: string;
}

/** Listens at `socket`; what is thrown is told by `failed`. */
export function serveControl(
  socket: string,
  fates: Fates,
  administer: (request: ControlRequest) => Promise<Response>,
  failed: (error: unknown) => Response,
): void {
  Bun.serve({
    unix: socket,
    async fetch(request) {
      const { pathname, search } = new URL(request.url);
      const body = await request.text();
      const word = /^\/double\/(\w+)$/.exec(pathname)?.[1];
      try {
        if (word === undefined) {
          const contentType = request.headers.get("content-type") ?? undefined;
          return await administer({ method: request.method, path: `${pathname}${search}`, contentType, body });
        }
        const act = fates[word as keyof Fate] as ((how: unknown) => unknown) | undefined;
        if (!act) return new Response(`There is no ${word}`, { status: 404 });
        return Response.json((await act(JSON.parse(body))) ?? {});
      } catch (error) {
        return failed(error);
      }
    },
  });
}

const TICK_MS = 10;

/** The fate of kubelets that report: `beat` for each node's number in turn. */
export function heartbeats(beat: (n: number) => void): (how: Fate["heartbeats"]) => void {
  let beating: ReturnType<typeof setInterval> | undefined;
  return ({ from, count, everyMs }) => {
    clearInterval(beating);
    if (everyMs === 0) return;
    const begun = performance.now();
    let beaten = 0;
    beating = setInterval(() => {
      const due = ((performance.now() - begun) / everyMs) * count;
      for (; beaten < due; beaten++) beat(from + (beaten % count));
    }, TICK_MS);
  };
}

/** Waits until the `i`th of `count` things that are spread over `overMs` is due; `begun` by performance.now(). */
export async function untilDue(i: number, { count, overMs }: Fate["fill"], begun: number): Promise<void> {
  const aheadMs = (overMs * i) / count - (performance.now() - begun);
  if (aheadMs > 1) await Bun.sleep(aheadMs);
}
