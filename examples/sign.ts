#!/usr/bin/env -S deno run --allow-read --allow-env=HOME,USERPROFILE,SSH_AUTH_SOCK --allow-net --allow-write
// deno-lint-ignore-file no-console
/**
 * Signs a file as `ssh-keygen -Y sign` does, and checks a signature as `ssh-keygen -Y verify` does; either way the other end may be that.
 *
 *     examples/sign.ts sign KEY NAMESPACE FILE                                  writes FILE.sig
 *     examples/sign.ts verify ALLOWED_SIGNERS PRINCIPAL NAMESPACE FILE          reads FILE.sig
 *
 * KEY is a private key, or the public half of one that the agent holds. Files may be of any size: they are hashed as they are read.
 */
import {
  connectAgent,
  parsePrivateKey,
  parsePublicKey,
  type Signer,
  signMessage,
  SshError,
  verifyMessage,
} from "@amiko/ssh";

async function signerOf(path: string, stack: AsyncDisposableStack): Promise<Signer> {
  const text = await Deno.readTextFile(path);
  if (text.includes("PRIVATE KEY")) return await parsePrivateKey(text);
  const wanted = await parsePublicKey(text).fingerprint();
  for (const signer of await stack.use(await connectAgent()).signers()) {
    if (await signer.publicKey.fingerprint() === wanted) return signer;
  }
  throw new SshError(`The agent does not hold ${wanted}`, { code: "KEY_FORMAT" });
}

const [action, ...args] = Deno.args;
await using stack = new AsyncDisposableStack();
try {
  if (action === "sign" && args.length === 3) {
    const [key, namespace, path] = args as [string, string, string];
    const signer = await signerOf(key, stack), file = await Deno.open(path);
    await Deno.writeTextFile(`${path}.sig`, await signMessage(signer, file.readable, { namespace }));
    console.log(`Signed as ${signer.publicKey.type} ${await signer.publicKey.fingerprint()}: ${path}.sig`);
  } else if (action === "verify" && args.length === 4) {
    const [allowed, principal, namespace, path] = args as [string, string, string, string];
    const allowedSigners = await Deno.readTextFile(allowed), signature = await Deno.readTextFile(`${path}.sig`);
    const file = await Deno.open(path);
    const key = await verifyMessage(signature, file.readable, { namespace, allowedSigners, principal });
    console.log(`Good "${namespace}" signature for ${principal} with ${key.type} ${await key.fingerprint()}`);
  } else {
    console.error("Usage: sign.ts sign KEY NAMESPACE FILE | sign.ts verify ALLOWED_SIGNERS PRINCIPAL NAMESPACE FILE");
    Deno.exitCode = 2;
  }
} catch (error) {
  if (!(error instanceof SshError)) throw error;
  console.error(error.message);
  Deno.exitCode = 255;
}
