/**
 * Bench. A wire that carries one flight at a time, and counts them. What one end says without having heard more of the other is one
 * flight, in however many pieces it comes; what both ends say at once, such as the two identifications, crosses and is one flight of
 * either. So a turn of the wire, in which either or both ends are heard, is half a round trip, as on a path that is much longer than what the
 * ends need to think.
 *
 * @module
 */

/** More than any contender needs to think, such as for a key exchange in Python, in milliseconds. */
const QUIET = 250;

/** One end of a connection. */
interface End {
  readonly conn: Deno.TcpConn;
  said: Uint8Array[];
  /** Whether it has ended its side. */
  over: boolean;
}

/** A relay whose connections carry flights. */
export class FlightRelay implements AsyncDisposable {
  /** Where it listens, on 127.0.0.1. */
  readonly port: number;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #serving: Promise<void>;
  /** Of the latest connection; one that is ending still has a count of its own. */
  #latest = { turns: 0 };
  #heard = 0;

  readonly #quiet: number;

  /** `to` is the server's port on 127.0.0.1, and `quiet` how many milliseconds without a word end a flight. */
  constructor(to: number, quiet = QUIET) {
    this.#quiet = quiet;
    this.port = this.#listener.addr.port;
    this.#serving = this.#serve(to);
  }

  /** Round trips of the latest connection so far. */
  get roundTrips(): number {
    return this.#latest.turns / 2;
  }

  async #serve(to: number): Promise<void> {
    const running = new Set<Promise<void>>();
    for await (const client of this.#listener) {
      const server = await Deno.connect({ hostname: "127.0.0.1", port: to });
      const count = this.#latest = { turns: 0 };
      const one = this.#carry(client, server, count).catch(() => {}).finally(() => {
        running.delete(one);
        for (const conn of [client, server]) {
          try {
            conn.close();
          } catch {
            // Its end has closed it.
          }
        }
      });
      running.add(one);
    }
    await Promise.all(running);
  }

  /** Carries flights until either end has hung up and all that it said has been carried. */
  async #carry(client: Deno.TcpConn, server: Deno.TcpConn, count: { turns: number }): Promise<void> {
    const ends: End[] = [client, server].map((conn) => ({ conn, said: [], over: false }));
    for (const end of ends) {
      end.conn.setNoDelay(true);
      void this.#listen(end);
    }
    while (!ends.some(({ said, over }) => over && said.length === 0)) {
      for (let seen = -1; seen !== this.#heard;) {
        seen = this.#heard;
        await new Promise((resolve) => setTimeout(resolve, this.#quiet));
      }
      const flights = ends.map((end) => end.said.splice(0));
      if (flights.every((flight) => flight.length === 0)) continue;
      count.turns++;
      for (const [i, flight] of flights.entries()) {
        for (const bytes of flight) {
          for (let at = 0; at < bytes.length;) at += await ends[1 - i]!.conn.write(bytes.subarray(at));
        }
      }
    }
  }

  async #listen(end: End): Promise<void> {
    try {
      for (;;) {
        const block = new Uint8Array(65_536), length = await end.conn.read(block);
        if (length === null) break;
        end.said.push(block.subarray(0, length));
        this.#heard++;
      }
    } catch {
      // It was cut off.
    }
    end.over = true;
  }

  /** Ends the listener, and waits for the connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#serving.catch(() => {});
  }
}
