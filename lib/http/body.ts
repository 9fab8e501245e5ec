/**
 * The body of a response that came through a connection: it does not look whole where the connection was lost, or cut. No I/O.
 *
 * Deno ends a body without an error where its socket is closed and no length was announced, and it forgets a request's signal when
 * garbage is collected in the midst of the body. So the body is passed on by a stream that looks at both itself.
 *
 * @module
 */

/** Statuses that a `Response` can be made with. */
const STATUS = { least: 200, most: 599 };

/** What may have cut a body short whose end nothing announces. */
export interface Cutting {
  /** Aborts when the SSH connection has ended. */
  readonly lost: AbortSignal;
  /** Why the far end has cut the body's own connection, or what may be that one; null where it has not. */
  cut(): unknown;
}

/** `response` to `request`, whose body fails with the reason of what has cut it, and with the one of the request's signal. */
export function withWatchedBody(response: Response, request: Request, cutting: Cutting): Response {
  const { body, status, statusText, headers } = response;
  if (body === null || status < STATUS.least || status > STATUS.most) return response;
  // What announces its end is known to lack it.
  const tells = headers.has("content-length") || headers.has("transfer-encoding");
  return likeness(new Response(watched(body, tells, request, cutting), { status, statusText, headers }), response);
}

function watched(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  tells: boolean,
  request: Request,
  { lost, cut }: Cutting,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = body.getReader(), { signal } = request;
  let leave = (): void => {};
  return new ReadableStream({
    type: "bytes",
    start(controller) {
      const onAbort = (): void => {
        controller.error(signal.reason);
        reader.cancel(signal.reason).catch(() => {});
      };
      leave = () => signal.removeEventListener("abort", onAbort);
      signal.addEventListener("abort", onAbort, { once: true });
      if (signal.aborted) onAbort();
    },
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (signal.aborted) return;
        if (!done) return controller.enqueue(value);
        if (lost.aborted && !tells) throw lost.reason;
        const why = tells ? null : cut();
        if (why !== null) throw why;
      } catch (error) {
        leave();
        throw lost.aborted && !signal.aborted ? lost.reason : error;
      }
      leave();
      controller.close();
      controller.byobRequest?.respond(0);
    },
    cancel(reason) {
      leave();
      return reader.cancel(reason);
    },
  });
}

/** What else a response tells, which cannot be made. */
function likeness(made: Response, { url, redirected, type }: Response): Response {
  return Object.defineProperties(made, {
    url: { value: url },
    redirected: { value: redirected },
    type: { value: type },
    clone: { value: () => likeness(Response.prototype.clone.call(made), made) },
  });
}
