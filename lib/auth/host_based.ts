/**
 * Logging in as a user of another machine, for whom that machine's host key vouches, as the client. RFC 4252 section 9. No transport.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { checkSigner } from "../keys/check_key.ts";
import { isWrongSignature } from "../keys/check_signature.ts";
import type { Signer } from "../keys/types.ts";
import { encodeText } from "../wire/byte_text.ts";
import { checkObject, wrongKind } from "../wire/check.ts";
import { Writer } from "../wire/writer.ts";
import { reasonOf } from "./locked_keys.ts";
import { hostBasedFields, hostBasedSignedData } from "./messages.ts";
import { usableAlgorithms } from "./key_questions.ts";
import { type AuthMethod, final, type FinalReply, makeMethod } from "./methods.ts";

/** Who vouches for whom, for {@linkcode hostBased}. */
export interface HostBasedOptions {
  /** The host key of the machine that the client runs on. */
  readonly key: Signer;
  /** The name of that machine, fully qualified, as the server knows it. */
  readonly hostname: string;
  /** The user's name on that machine. @default {the name that the login is for} */
  readonly username?: string | undefined;
}

/**
 * `hostbased` (RFC 4252 section 9): the host key of the client's machine vouches for its user. It is for programs that may read that key,
 * or ask something that signs with it, as `ssh` does with `ssh-keysign`. A key that the server's `server-sig-algs` rules out is not used.
 */
export function hostBased(options: HostBasedOptions): AuthMethod {
  checkObject("options", options, "an object such as `{ key, hostname }`");
  const { key, hostname, username } = options;
  checkSigner("key", key);
  if (typeof hostname !== "string" || !/^[!-~]{1,256}$/.test(hostname)) {
    throw wrongKind("hostname", hostname, "the name of this machine, in ASCII and without blanks");
  }
  if (username !== undefined && (typeof username !== "string" || username === "")) {
    throw wrongKind("username", username, "the name of the user on this machine");
  }
  return makeMethod("hostbased", async (exchange): Promise<FinalReply> => {
    const { type, blob } = key.publicKey;
    const name = `${printable(type, 64)} ${await exchange.wait(key.publicKey.fingerprint())}`;
    let last: FinalReply = { kind: "failure", partial: false, remaining: exchange.remaining };
    const algorithms = usableAlgorithms(key, exchange.serverSigAlgs);
    if (algorithms.length === 0) exchange.note(`${name} is ruled out by the server's server-sig-algs`);
    for (const algorithm of algorithms) {
      const user = encodeText(exchange.username), here = encodeText(username ?? exchange.username);
      const fields = hostBasedFields({ algorithm, blob, hostname: encodeText(hostname), username: here });
      const data = hostBasedSignedData(exchange.sessionId, user, fields);
      let signature: Uint8Array<ArrayBuffer>;
      try {
        signature = await exchange.wait(key.sign(data.slice(), algorithm));
        if (await exchange.wait(isWrongSignature(key, algorithm, data, signature))) {
          throw new TypeError(`what its signer gave is no ${algorithm} signature`);
        }
      } catch (error) {
        if (exchange.signal.aborted) throw error;
        exchange.note(`${name} could not sign: ${reasonOf(error)}`);
        return last;
      }
      const request = new Writer(512).raw(fields).string(signature).bytes();
      last = final(await exchange.request("hostbased", request, { proof: true }), "hostbased");
      if (last.kind === "success" || last.partial || !exchange.remaining.includes("hostbased")) return last;
    }
    return last;
  });
}
