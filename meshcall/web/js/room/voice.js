// Who speaks. Pure: levels and times in.
//
// Law 1: a short noise is no speech, and a pause between two words is no end of it.
// Law 2: what hums all the time (a fan) is taken for silence after some seconds.

const LOUDER = 3;  // than the silence of this room
const LEAST = 0.03;  // level, 0 to 1, below which nobody speaks
const BEGINS = 150;  // ms
const ENDS = 900;  // ms
const RISE = 1.01;  // of the silence, a look: half a minute until a hum is silence

/** Whether one voice is heard. */
export class Voice {
  speaking = false;
  #silence = LEAST / LOUDER;
  #since = null;  // the level is on the other side since then

  /** @param {number} level 0 to 1 @param {number} now ms @returns {boolean} whether it is another state than before */
  hear(level, now) {
    this.#silence = level < this.#silence ? level : Math.min(this.#silence * RISE + 1e-5, 1);
    const loud = level > Math.max(LEAST, this.#silence * LOUDER);
    if (loud === this.speaking) { this.#since = null; return false; }
    this.#since ??= now;
    if (now - this.#since < (loud ? BEGINS : ENDS)) return false;
    this.#since = null;
    this.speaking = loud;
    return true;
  }
}

/** Who is shown as the speaker: the one who began last, until somebody else begins. */
export class Speaker {
  current = '';
  #speaking = new Set();

  /** @param {string[]} now who speaks now @param {string[]} here who is in the room */
  update(now, here) {
    const fresh = now.find(id => !this.#speaking.has(id));
    this.#speaking = new Set(now);
    if (fresh) this.current = fresh;
    else if (!here.includes(this.current)) this.current = '';
    return this.current;
  }
}
