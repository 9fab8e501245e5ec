/**
 * SFTP sessions over channels of a connection: what `sftp()` opens, and what a client of SFTP opens beside that where the window of one
 * channel holds it up. RFC 4254 section 6.5.
 *
 * @module
 */
import { type BaseChannel, channelCore } from "../connection/channel.ts";
import type { Mux } from "../connection/mux.ts";
import { startProcess } from "../session/process.ts";
import { giveRoom, openSftpOn, type SftpClient } from "../sftp/client.ts";
import { OwnChannel } from "../sftp/wire/channel.ts";
import { hasLimits } from "../sftp/wire/servers_with_limits.ts";
import { serverTakesLinkFirst } from "../sftp/wire/symlink_order.ts";
import { checkInteger } from "../wire/check.ts";
import { type WaitOptions, withDeadline } from "../wire/deadline.ts";
import { Timer } from "../wire/timer.ts";

/** How an SFTP session is opened. */
export interface SftpOptions extends WaitOptions {
  /**
   * Most channels that copies use, from 1 to 8. On a long path the server's window bounds what one channel carries: the upload of a large
   * file that is held up by it goes on over several. Each is a session that counts in the server's `MaxSessions`. They end with the copy,
   * or when the server refuses another session of this program. The SFTP sessions of a connection share them. @default {4}
   */
  channels?: number | undefined;
}

const DEFAULT_CHANNELS = 4;
/** Milliseconds that channels which are given up may take to end. */
const PATIENCE = 5000;
const MOST_CHANNELS = 8;

/** How the two sides of a connection call themselves. */
export interface Idents {
  readonly peer: string;
  readonly own: string;
}

/** The SFTP sessions of one connection. */
export class SftpChannels {
  readonly #mux: Mux;
  readonly #idents: Idents | null;
  readonly #clients = new Set<SftpClient>();
  /** Channels beside the first ones of the clients. */
  readonly #further = new Set<Promise<unknown>>();

  /** `idents` is null where the connection is somebody else's, who may want its sessions. */
  constructor(mux: Mux, idents: Idents | null) {
    this.#mux = mux;
    this.#idents = idents;
  }

  /** Opens a session; see `SshClient.sftp()`. */
  async open(options: SftpOptions): Promise<SftpClient> {
    const { channels = DEFAULT_CHANNELS } = options;
    checkInteger("channels", channels, { min: 1, max: MOST_CHANNELS });
    return await withDeadline(options, () => "the server to start SFTP", (signal) => this.#open(signal, channels));
  }

  async #open(outer: AbortSignal | undefined, channels: number): Promise<SftpClient> {
    const opening = new AbortController(), { signal } = opening;
    outer?.throwIfAborted();
    const onAbort = (): void => opening.abort(outer!.reason);
    outer?.addEventListener("abort", onAbort);
    try {
      const idents = this.#idents, most = idents === null ? 0 : channels - 1;
      const known = {
        linkFirst: serverTakesLinkFirst({ peer: idents?.peer, own: idents?.own }),
        hasLimits: hasLimits(idents?.peer),
        server: this,
      };
      // Its first packet does not wait until the server has started it.
      const { promise: client, resolve } = Promise.withResolvers<SftpClient>();
      client.catch(() => {});
      await this.#start(signal, (channel) => {
        resolve(openSftpOn(channel, { signal, ...known }, (signal) => this.#openFurther(signal, most), most));
        const opened = client.then((client) => {
          this.#clients.add(client);
          return channel.ended!.then(() => this.#clients.delete(client));
        });
        opened.catch(() => {});
      }, () => this.giveRoom());
      return await client;
    } finally {
      outer?.removeEventListener("abort", onAbort);
    }
  }

  /** A channel beside others; null where there are as many as may be. */
  async #openFurther(signal: AbortSignal, most: number): Promise<OwnChannel | null> {
    if (this.#further.size >= most) return null;
    const { promise, resolve, reject } = Promise.withResolvers<OwnChannel>();
    const ended = promise.then(({ ended }) => ended).catch(() => {}).finally(() => this.#further.delete(ended));
    this.#further.add(ended);
    this.#start(signal, resolve).catch(reject);
    return await promise;
  }

  /** Opens a channel and asks for the subsystem; `asked` gets its streams before the server has said that there is one. */
  async #start(
    signal: AbortSignal,
    asked: (channel: OwnChannel) => void,
    giveRoom?: () => Promise<boolean>,
  ): Promise<void> {
    await startProcess(this.#mux, { kind: "subsystem", name: "sftp" }, { stderr: "null", signal }, {
      asked: (opened) => asked(sftpChannel(opened)),
      ...(giveRoom === undefined ? {} : { giveRoom }),
    });
  }

  /** Gives up what copies opened for themselves: the server may have refused the program a session for it. False where there is nothing. */
  async giveRoom(): Promise<boolean> {
    const given = await Promise.all([...this.#clients].map(giveRoom));
    if (!given.includes(true)) return false;
    // A server counts a session until its process has ended.
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = new Timer(resolve);
    timer.unref();
    timer.start(PATIENCE);
    await Promise.race([late, Promise.all(this.#further)]);
    timer.stop();
    return true;
  }
}

function sftpChannel(opened: BaseChannel): OwnChannel {
  const core = channelCore(opened), { sendWindow } = core, ended = opened.closed.catch(() => {});
  return new OwnChannel(core, {
    close: () => opened.close(),
    ended,
    sending: () => ({ window: sendWindow.most, held: sendWindow.held }),
  });
}
