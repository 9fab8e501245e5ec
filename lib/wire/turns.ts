/**
 * Shares the turns of the event loop among the connections and sessions of this process. While a socket has more to give, reading
 * it never returns to the loop, and no more does work on files that are always ready: one peer that sends as fast as it can would keep
 * timers, signals and all others waiting. So who has used its share of a turn goes on in a later one. Those that want little go first,
 * a few in each turn; of those that take all they can get, one. No I/O.
 *
 * @module
 */

/** Milliseconds of a turn that all of them may use together. */
const TURN = 8;
/** Milliseconds of a turn that one of them may use: while it is a stranger, and once its user is known. */
const SHARE = { stranger: 1, known: 2 };

/** How many go on at once that want little: each looks at the clock only when it has done something. */
const MODEST_AT_ONCE = 4;

/** Counts the turns in which one of them ran. */
let turn = 0;
/** When the first of this turn began. */
let began = 0;
let running = false;
/** Who has used its own share, in order of arrival. */
const greedy: (() => void)[] = [];
/** Who came when the turn was used up by others. */
const late: (() => void)[] = [];

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
  const first = greedy.shift(), modest = late.splice(0, MODEST_AT_ONCE);
  if (first === undefined && modest.length === 0) return;
  run();
  for (const goOn of modest) goOn();
  first?.();
}

let channel: MessageChannel | null = null;
const atMessage: (() => void)[] = [];

/**
 * Calls back when the event loop comes round again. A browser has no `setImmediate()`. Its timers wait for milliseconds when they follow
 * each other, and for a second where the page is hidden; a message to oneself does not.
 */
export function atTurnEnd(done: () => void): void {
  if (typeof setImmediate === "function") return void setImmediate(done);
  if (channel === null) {
    channel = new MessageChannel();
    channel.port1.onmessage = () => atMessage.shift()!();
  }
  atMessage.push(done);
  channel.port2.postMessage(null);
}

/** One's share of each turn: a connection's, or that of a session in it. */
export class TurnShare {
  #milliseconds = SHARE.stranger;
  #turn = -1;
  #since = 0;
  #waited = false;

  /** The share of one whose user is known. */
  static known(): TurnShare {
    const share = new TurnShare();
    share.setKnown();
    return share;
  }

  /** The user is known: there may be bulk to move. */
  setKnown(): void {
    this.#milliseconds = SHARE.known;
  }

  /** Whether others have to run before more is done here. To be asked now and then, as it costs a look at the clock. */
  get isUsed(): boolean {
    // Whoever has waited gets something done, however little time there is.
    if (this.#waited) return this.#waited = false;
    run();
    const now = performance.now();
    if (this.#turn !== turn) {
      this.#turn = turn;
      this.#since = now;
    }
    return now - this.#since > this.#milliseconds || now - began > TURN;
  }

  /** What to wait for before going on, or null while there is time left: a promise for each step would cost more than most do. */
  rest(): Promise<void> | null {
    return this.isUsed ? this.next() : null;
  }

  /** Resolves in a later turn, when it is this one's. */
  async next(): Promise<void> {
    run();
    if (performance.now() - this.#since > this.#milliseconds) {
      await new Promise<void>((goOn) => void greedy.push(goOn));
    } else {
      do await new Promise<void>((goOn) => void late.push(goOn)); while (performance.now() - began > TURN);
    }
    this.#turn = turn;
    this.#since = performance.now();
    this.#waited = true;
  }
}
