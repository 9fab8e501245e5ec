/**
 * What reading a configuration needs of the system: files, names and programs. The facade has it of Deno, tests have their own. Types only.
 *
 * @module
 */
import type { MaybePromise } from "../wire/types.ts";

/** The system that a configuration is read on. */
export interface ConfigSystem {
  /** The user's home folder. Throws where none is known. */
  home(): string;
  /** Who runs this program. Throws where nobody can tell. */
  localUser(): MaybePromise<string>;
  /** The number of that user. */
  userId(): string;
  /** The name of this machine. */
  localHost(): string;
  /** A variable of the environment. */
  env(name: string): string | undefined;
  /**
   * The text of a file, or null where there is none. With `checked`, it rejects where the file is of somebody else, or others may write it:
   * whoever can would run commands as this user.
   */
  read(path: string, checked: boolean): Promise<string | null>;
  /** The files that a pattern names, in the order of their names. */
  glob(pattern: string): Promise<readonly string[]>;
  /** The addresses of this machine. */
  addresses(): readonly string[];
  /** Whether a command ends with exit code 0; a shell runs it. */
  run(command: string): Promise<boolean>;
  /** The name that DNS has for a host, where it has addresses: where an alias leads, or the name itself. Null for a host that it does not know. */
  lookUp(name: string): Promise<string | null>;
}

/** The system, as a criterion or a token that has no other way out uses it. */
export interface ConfigContext {
  /** The system. */
  readonly system: ConfigSystem;
  /** Whether `Match exec` may run commands. */
  readonly exec: boolean;
  /** Told what cannot be done here. */
  readonly notice: (keyword: string, text: string) => void;
}
