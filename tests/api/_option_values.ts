/**
 * Test support. Values for the table of options.
 *
 * @module
 */
import { generateKey, keyboardInteractive, none, password, type PrivateKey, publicKey } from "../../mod.ts";
import type { ByteDuplex } from "../../lib/wire/types.ts";
import { memoryPair } from "../_support/duplex.ts";

/** A key. */
export const key: PrivateKey = await generateKey();

/** One method of each kind. */
export const AUTH_METHODS = [none(), password("x"), publicKey(key), keyboardInteractive(() => [])];

/** Streams, one of which somebody else uses. */
export function lockedPair(which: "readable" | "writable"): ByteDuplex {
  const { client } = memoryPair();
  if (which === "readable") client.readable.getReader();
  else client.writable.getWriter();
  return client;
}

/** What a Node stream looks like: its `readable` and `writable` say whether it is open. */
export function nodeStream(): unknown {
  return new (class Socket {
    get readable() {
      return true;
    }
    get writable() {
      return true;
    }
    pipe() {}
  })();
}

/** A server's handlers as an object of a class, with what it needs itself. */
export class Handlers {
  readonly users = new Map([["alice", "wonderland"]]);
  password = ({ username }: { username: string }, text: string): boolean => this.users.get(username) === text;
}
