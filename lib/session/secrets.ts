/**
 * What was sent as an answer and must not stand in an error, also where it came back as an echo. No I/O.
 *
 * @module
 */

/** Secrets, and texts without them. */
export class Secrets {
  readonly #secrets = new Set<string>();

  /** Is not shown from here on, nor is a line of it: several may come back one by one, with other ends. */
  add(secret: string | Uint8Array): void {
    const text = secret instanceof Uint8Array ? new TextDecoder().decode(secret) : secret;
    for (const line of text.split(/[\r\n]+/)) if (line !== "") this.#secrets.add(line);
  }

  /** The text without them. A short one is looked for as a word of its own: `y` stands in half of all others. */
  readonly hide = (text: string): string => {
    for (const secret of [...this.#secrets].sort((a, b) => b.length - a.length)) {
      const plain = RegExp.escape(secret);
      const found = secret.length > 3 ? plain : `(?<![\\p{L}\\p{N}])${plain}(?![\\p{L}\\p{N}])`;
      text = text.replace(new RegExp(found, "gu"), "***");
    }
    return text;
  };
}
