#!/usr/bin/env -S deno run --allow-read --allow-write
// deno-lint-ignore-file no-console
/**
 * Makes and converts keys, and changes their passphrases: a small `ssh-keygen`.
 *
 *     examples/keygen.ts make FILE [ed25519|ecdsa|rsa|mldsa44-ed25519] [comment]
 *     examples/keygen.ts convert FILE openssh|pkcs8|putty|jwk NEWFILE
 *     examples/keygen.ts passphrase FILE
 *     examples/keygen.ts public FILE [openssh|rfc4716|spki|jwk]
 *
 * Passphrases are asked for on the terminal, and read line by line where there is none.
 */
import {
  exportPublicKey,
  generateKey,
  KeyFormatError,
  parsePrivateKey,
  type PrivateKey,
  type PrivateKeyFormat,
  type PublicKeyFormat,
} from "@amiko/ssh";

const [command, file, ...more] = Deno.args;
const commands: Record<string, () => Promise<void>> = { make, convert, passphrase, public: publicHalf };
if (!Object.hasOwn(commands, command ?? "") || file === undefined) {
  console.error("Usage: keygen.ts make|convert|passphrase|public FILE …");
  Deno.exit(2);
}

try {
  await commands[command!]!();
} catch (error) {
  const expected = error instanceof KeyFormatError || error instanceof TypeError || error instanceof RangeError ||
    error instanceof Deno.errors.AlreadyExists || error instanceof Deno.errors.NotFound;
  if (!expected) throw error;
  console.error(error.message);
  Deno.exitCode = 1;
}

async function make(): Promise<void> {
  const [type = "ed25519", comment = ""] = more;
  const key = await generateKey(type as Parameters<typeof generateKey>[0], { comment });
  const secret = newPassphrase();
  await writeNew(file!, await key.export({ passphrase: secret }));
  await Deno.writeTextFile(`${file}.pub`, exportPublicKey(key.publicKey, { comment }));
  console.log(key.toString());
}

async function convert(): Promise<void> {
  const [format, target] = more;
  if (target === undefined) throw new TypeError("Cannot convert key: a format and a new file are needed");
  const { key, secret } = await read();
  // What was encrypted stays so, as far as the format can.
  const passphrase = format === "jwk" ? undefined : secret;
  await writeNew(target, await key.export({ format: format as PrivateKeyFormat, passphrase }));
  console.log(key.toString());
}

async function passphrase(): Promise<void> {
  const { key } = await read();
  const text = await key.export({ passphrase: newPassphrase() });
  // The old file stays whole until the new one is.
  await writeNew(`${file}.new`, text);
  await Deno.rename(`${file}.new`, file!);
  console.log(key.toString());
}

async function publicHalf(): Promise<void> {
  const { key } = await read(), format = more[0] as PublicKeyFormat | undefined;
  await print(exportPublicKey(key.publicKey, { format, comment: key.comment }));
}

/** The key in the file, and the passphrase that it took. */
async function read(): Promise<{ key: PrivateKey; secret: string | undefined }> {
  let secret: string | undefined;
  const key = await parsePrivateKey(await Deno.readFile(file!), {
    passphrase: () => secret = ask(`Passphrase of ${file}: `),
  });
  return { key, secret };
}

/** For its owner alone, and in the place of nothing. */
async function writeNew(path: string, text: string): Promise<void> {
  await Deno.writeTextFile(path, text, { createNew: true, mode: 0o600 });
}

async function print(text: string): Promise<void> {
  await new Blob([text]).stream().pipeTo(Deno.stdout.writable, { preventClose: true });
}

/** Empty for a key in clear. */
function newPassphrase(): string | undefined {
  const secret = ask("New passphrase (empty for none): ");
  if (Deno.stdin.isTerminal() && ask("Again: ") !== secret) throw new TypeError("The two passphrases differ");
  return secret === "" ? undefined : secret;
}

/** Asks without echo. */
function ask(question: string): string {
  const interactive = Deno.stdin.isTerminal();
  if (interactive) {
    Deno.stderr.writeSync(new TextEncoder().encode(question));
    Deno.stdin.setRaw(true);
  }
  try {
    const typed: number[] = [], byte = new Uint8Array(1);
    while (Deno.stdin.readSync(byte) === 1 && byte[0] !== 13 && byte[0] !== 10) {
      if (interactive && byte[0] === 3) throw new TypeError("Interrupted");
      if (interactive && (byte[0] === 127 || byte[0] === 8)) typed.pop();
      else typed.push(byte[0]!);
    }
    return new TextDecoder().decode(new Uint8Array(typed));
  } finally {
    if (interactive) {
      Deno.stdin.setRaw(false);
      Deno.stderr.writeSync(new TextEncoder().encode("\n"));
    }
  }
}
