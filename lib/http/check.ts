/**
 * Whether what HTTP through a connection is asked for makes sense, before anything is opened.
 *
 * @module
 */
import { checkAddress, checkForwardOptions, checkSocketPath } from "../forward/check.ts";
import {
  checkFlag,
  checkFunction,
  checkInteger,
  checkNames,
  checkObject,
  checkText,
  wrongKind,
} from "../wire/check.ts";
import { LONGEST_PATH } from "./door.ts";

/** A request, from what `fetch()` takes; throws `TypeError` for what it cannot be made of, or what leads nowhere through a server. */
export function checkedRequest(input: unknown, init: unknown): Request {
  if (typeof input !== "string" && !(input instanceof URL) && !(input instanceof Request)) {
    throw wrongKind("input", input, "a URL, as a text or a URL object, or a Request");
  }
  if (init !== undefined && init !== null) {
    checkObject("init", init, "an object such as `{ method, headers, body, signal }`");
  }
  // A URL may hold a secret.
  const url = URL.parse(input instanceof Request ? input.url : String(input));
  if (url === null) {
    throw new TypeError("Cannot fetch: what was given is no URL; one begins with `http://` or `https://`");
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new TypeError(`Cannot fetch "${url.protocol}" through a server: only "http:" and "https:" lead there`);
  }
  try {
    return new Request(input, init as RequestInit | undefined);
  } catch (cause) {
    throw new TypeError(`Cannot fetch: ${cause instanceof Error ? cause.message : "no request can be made"}`, {
      cause,
    });
  }
}

const clientOptions = [
  "path",
  "caCerts",
  "cert",
  "key",
  "http1",
  "http2",
  "allowHost",
  "poolMaxIdlePerHost",
  "poolIdleTimeout",
];

/** Throws `TypeError` or `RangeError` for what are no options of `createHttpClient()`. */
export function checkHttpClient(options: unknown): void {
  checkObject("options", options, "an object such as `{ caCerts }`");
  const given = options as Record<string, unknown>;
  for (const name of ["proxy", "localAddress"]) {
    if (given[name] !== undefined) {
      throw new TypeError(`Cannot use \`${name}\` of an HTTP client: its connections lead through the server`);
    }
  }
  const path = { ours: ["path"], write: "`path`" }, caCerts = { ours: ["caCerts"], write: "`caCerts`" };
  checkNames("createHttpClient()", given, clientOptions, { socketPath: path, unixSocket: path, ca: caCerts });
  if (given.path !== undefined) {
    checkSocketPath(given.path);
    const { length } = new TextEncoder().encode(given.path as string);
    if (length > LONGEST_PATH) {
      throw new RangeError(`Cannot use \`path\` of ${length} bytes: ${LONGEST_PATH} are the most`);
    }
  }
  if (given.caCerts !== undefined) {
    if (!Array.isArray(given.caCerts)) throw wrongKind("caCerts", given.caCerts, "an array of texts in PEM format");
    for (const one of given.caCerts) checkText("caCerts", one, "an array of texts in PEM format");
  }
  for (const name of ["cert", "key"]) {
    if (given[name] !== undefined) checkText(name, given[name], "a text in PEM format");
  }
  if ((given.cert === undefined) !== (given.key === undefined)) {
    throw new TypeError("Cannot use `cert` without `key`, or `key` without `cert`: one belongs to the other");
  }
  for (const name of ["http1", "http2", "allowHost"]) checkFlag(name, given[name]);
  if (given.http1 === false && given.http2 === false) {
    throw new TypeError("Cannot use an HTTP client that speaks neither HTTP/1.1 nor HTTP/2");
  }
  const count = { min: 0, max: Number.MAX_SAFE_INTEGER };
  checkInteger("poolMaxIdlePerHost", given.poolMaxIdlePerHost, count);
  if (given.poolIdleTimeout !== false) checkInteger("poolIdleTimeout", given.poolIdleTimeout, count);
}

/** Throws `TypeError` or `RangeError` for what cannot be served. */
export function checkServe(options: unknown, handler: unknown): void {
  const more = ["signal", "timeout", "onError", "maxConnections"];
  checkAddress("serve()", null, options, { dialled: false, unix: true, more });
  checkForwardOptions("serve()", options, ["hostname", "port", "transport", "path"]);
  checkFunction("handler", handler);
  if (handler === undefined) throw wrongKind("handler", handler, "a function that answers requests");
}
