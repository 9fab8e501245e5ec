/**
 * Listening through a master: it forwards a port of the server's to a Unix socket here. OpenSSH PROTOCOL.mux sections 6 and 7.
 *
 * In proxy mode a `tcpip-forward` gets through, too, but its answer does not: nobody would know whether the server listens, and where,
 * and cancelling it is refused. A forward of the master's own is answered, and can be taken back.
 *
 * @module
 */
import { placeOf } from "../forward/addresses.ts";
import type { Lender, LentAddress, LentListener } from "../forward/lender.ts";
import type { LocalSocket } from "../forward/local_sockets.ts";
import type { ControlConn, ControlForward } from "../transport/control_conn.ts";
import { abortable } from "../wire/abortable.ts";
import { requireDeno } from "../wire/system.ts";
import { askMaster, hangUp, named } from "./control_socket.ts";

/** Has one master listen. */
export class ControlLender implements Lender {
  readonly #path: string;

  /** By its control socket. */
  constructor(controlPath: string) {
    this.#path = controlPath;
  }

  /** See {@linkcode Lender}. */
  async listen(where: LentAddress, signal: AbortSignal | undefined): Promise<LentListener> {
    requireDeno("listen through a control socket", "a connection of its own, without `controlPath`, listens");
    signal?.throwIfAborted();
    // Only the user's own programs can reach what is in it.
    const dir = await Deno.makeTempDir({ prefix: "amiko_" }), path = `${dir}/s`;
    const forward: ControlForward = { from: where, to: path };
    let listener: Deno.UnixListener | null = null;
    const close = async (): Promise<void> => {
      listener?.close();
      listener = null;
      await Deno.remove(dir, { recursive: true }).catch(() => {});
    };
    try {
      const accepting = listener = Deno.listen({ transport: "unix", path });
      // The control connection keeps the program alive.
      accepting.unref();
      const port = await abortable(this.#ask(placeOf(where), (control) => control.openForward(forward)), signal, () => {
        // What comes too late is taken back.
        return this.#takeBack(forward);
      });
      let stopped: Promise<unknown> | null = null;
      return {
        addr: "path" in where
          ? { transport: "unix", path: where.path }
          : { transport: "tcp", hostname: where.hostname, port },
        accept: async () => withoutOrigin(await accepting.accept(), "path" in where),
        stop: async () => {
          await (stopped ??= Promise.all([this.#takeBack(forward), close()]));
        },
      };
    } catch (error) {
      await close();
      throw error;
    }
  }

  /** Never rejects: a master that is gone does not forward. */
  async #takeBack(forward: ControlForward): Promise<void> {
    await this.#ask("", (control) => control.closeForward(forward)).catch(() => {});
  }

  async #ask<T>(place: string, ask: (control: ControlConn) => Promise<T>): Promise<T> {
    const failure = `Cannot listen on ${place} through ${named(this.#path)}`;
    return await askMaster({ controlPath: this.#path, failure }, async (control, socket) => {
      const answer = await ask(control);
      hangUp(socket);
      return answer;
    });
  }
}

/** The socket, of which the master does not say where it comes from. */
function withoutOrigin(socket: Deno.UnixConn, isUnix: boolean): LocalSocket {
  return {
    remoteAddr: isUnix ? { transport: "unix", path: "" } : { transport: "tcp", hostname: "", port: 0 },
    read: (p) => socket.read(p),
    write: (p) => socket.write(p),
    closeWrite: () => socket.closeWrite(),
    close: () => socket.close(),
  };
}
