// Tells what changes, not more often than it may, and the newest last. Pure but for the timer that is given.

/** One value that is told to somebody. */
export class Pace {
  #tell;
  #pause;
  #later;
  #told = '';
  #wanted = null;
  #free = -Infinity;
  #busy = false;
  #timer = 0;

  /**
   * @param {(value: any) => Promise<any>} tell @param {number} pause ms between two
   * @param {{now: () => number, later: (work: () => void, ms: number) => any}} time
   */
  constructor(tell, pause, time) {
    this.#tell = tell;
    this.#pause = pause;
    this.#later = time;
  }

  /** Tell this, now or soon. What was told already is told again only after `forget`. @param {any} value */
  set(value) {
    this.#wanted = value;
    this.#work();
  }

  /** The other end knows nothing any more. */
  forget() {
    this.#told = '';
    this.#work();
  }

  /** Nobody is told anything more. */
  stop() { this.#wanted = null; }

  #work() {
    if (this.#busy || this.#timer || this.#wanted === null || JSON.stringify(this.#wanted) === this.#told) return;
    const wait = this.#free - this.#later.now();
    if (wait > 0) {
      this.#timer = 1;
      this.#later.later(() => { this.#timer = 0; this.#work(); }, wait);
      return;
    }
    const value = this.#wanted;
    this.#told = JSON.stringify(value);
    this.#free = this.#later.now() + this.#pause;
    this.#busy = true;
    this.#tell(value).catch(() => { this.#told = ''; }).finally(() => { this.#busy = false; this.#work(); });
  }
}
