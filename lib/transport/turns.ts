/**
 * L3. Shares the turns of the event loop among the connections of this process. While a socket has more to give, reading it never
 * returns to the loop: one peer that sends as fast as it can would keep timers, signals and all other connections waiting. So a
 * connection that has used its share of a turn goes on in a later one. Those that want little go first, all of them; of those that
 * take all they can get, one goes on in each turn. No I/O.
 *
 * @module
 */

/** Milliseconds of a turn that all connections may use together. */
const TURN = 8;
/** Milliseconds of a turn that one connection may use: while it is a stranger, and once its user is known. */
const SHARE = { stranger: 1, known: 2 };

/** Counts the turns in which a connection ran. */
let turn = 0;
/** When the first connection of this turn began. */
let began = 0;
let running = false;
/** Who has used its own share, in order of arrival. */
const greedy: (() => void)[] = [];
/** Who came when the turn was used up by others. */
let late: (() => void)[] = [];

/** Something runs in this turn: it ends when the event loop comes round again. */
function run(): void {
  if (running) return;
  running = true;
  began = performance.now();
  atTurnEnd(nextTurn);
}

function nextTurn(): void {
  running = false;
  turn++;
  const first = greedy.shift(), modest = late;
  late = [];
  if (first === undefined && modest.length === 0) return;
  run();
  for (const goOn of modest) goOn();
  first?.();
}

/** A browser has no `setImmediate()`. */
function atTurnEnd(done: () => void): void {
  if (typeof setImmediate === "function") setImmediate(done);
  else setTimeout(done, 0);
}

/** One connection's share of each turn. */
export class TurnShare {
  #milliseconds = SHARE.stranger;
  #turn = -1;
  #since = 0;

  /** The user is known: there may be bulk to move. */
  setKnown(): void {
    this.#milliseconds = SHARE.known;
  }

  /** Whether the connection has to let others run before it does more. To be asked now and then, as it costs a look at the clock. */
  get isUsed(): boolean {
    run();
    const now = performance.now();
    if (this.#turn !== turn) {
      this.#turn = turn;
      this.#since = now;
    }
    return now - this.#since > this.#milliseconds || now - began > TURN;
  }

  /** Resolves in a later turn, when it is this connection's. */
  async next(): Promise<void> {
    run();
    if (performance.now() - this.#since > this.#milliseconds) {
      await new Promise<void>((goOn) => void greedy.push(goOn));
    } else {
      do await new Promise<void>((goOn) => void late.push(goOn)); while (performance.now() - began > TURN);
    }
    this.#turn = turn;
    this.#since = performance.now();
  }
}
