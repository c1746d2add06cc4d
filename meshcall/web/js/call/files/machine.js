// What two pages agree on about files: the machine. Pure: no channel, no file, no hash, no clock.
//
// Law 1: nothing is sent, and nothing of the peer is believed, before the gate is open; a hello is noted.
// Law 2: no octet of a file is taken that the person has not accepted, none beyond what was offered, and none is
// kept of a transfer that did not end well.
// Law 3: what breaks the rules ends the transfer that it is about, with a reason for both sides; never the call.
// Law 4: each way has one transfer at a time; more files of ours wait for their turn.
// Law 5: all commands are carried out before the next input.

import {
  BLOCK, CHUNK, DELAY_MAX, FILE_MAX, HELLO_PATIENCE, QUEUE_MAX, STRIKES_MAX, WINDOW_FIRST, WINDOW_MAX, WINDOW_MIN,
} from './limits.js';
import {Rejected, VERSION, about, decodeUntrusted, encode} from './message.js';
import {cleanName} from './name.js';

/**
 * A transfer as it is shown.
 * @typedef {{key: string, way: 'in'|'out', name: string, octets: number, moved: number, state: State, reason: string}} View
 * @typedef {'waiting'|'offered'|'running'|'checking'|'done'|'ended'} State
 */

const chunksOf = octets => Math.ceil(octets / CHUNK);
const over = state => state === 'done' || state === 'ended';
const STEPS = 200;  // that progress is shown in

/**
 * The transfers of one call. Commands, by `do`:
 * `send` octets; `show` a view; `read` a block of a file of ours; `root` of a file that was read whole; `keep` a
 * chunk; `check` a file against its root; `drop` what was kept of it, or the file that was read.
 */
export class Transfers {
  /** @param {string} [prefix] of the keys that transfers are known by */
  constructor(prefix = '') {
    /** What was refused or dropped, by reason. */
    this.counters = {};
    /** Octets that the channel's queue may still take; the shell says so before each input. */
    this.room = Infinity;
    this.#prefix = prefix;
  }

  #prefix;
  #commands = [];
  #gate = false;
  #closed = false;
  #most = null;  // octets of a file that the peer takes; null: it has not said that it takes any
  #patience = null;
  #queue = [];
  #out = null;
  #in = null;
  #lastOut = 0;
  #lastIn = 0;
  #strikes = 0;
  #count = 0;
  #window = WINDOW_FIRST;
  #fastest = Infinity;
  #slowed = 0;

  /** What is to be done now. */
  drain() { return this.#commands.splice(0); }

  /** When `tick` is due, or null. */
  deadline() { return this.#patience; }

  // --- the person ---

  /** Files to offer, one after the other. @param {{name: string, octets: number}[]} files @param {number} now ms */
  add(files, now) {
    const keys = [];
    for (const {name, octets} of files) {
      const one = {key: `${this.#prefix}out-${++this.#count}`, way: 'out', id: 0, name: cleanName(name), octets,
        moved: 0, state: 'waiting', reason: '', shown: 0};
      keys.push(one.key);
      const silent = this.#gate && this.#most === null && this.#patience === null;
      const reason = this.#closed ? 'call-ended' : silent ? 'no-files'
        : octets > FILE_MAX ? 'too-large' : this.#queue.length >= QUEUE_MAX ? 'too-many' : '';
      if (reason) {
        this.#end(one, reason);
      } else {
        this.#queue.push(one);
        this.#show(one);
      }
    }
    this.#next(now);
    return keys;
  }

  /** Take what is offered. @param {string} key */
  accept(key) {
    const one = this.#in;
    if (one?.key !== key || one.state !== 'offered') return;
    one.state = 'running';
    this.#send({type: 'accept', transfer: one.id});
    this.#show(one);
  }

  /** Decline what is offered, or give up what is under way. @param {string} key @param {number} now */
  stop(key, now) {
    if (this.#in?.key === key) {
      const reason = this.#in.state === 'offered' ? 'declined' : 'cancelled';
      if (reason === 'declined') this.#strike('declined');
      this.#giveUp(this.#in, reason);
    } else if (this.#out?.key === key) {
      this.#giveUp(this.#out, 'cancelled');
    } else {
      const at = this.#queue.findIndex(one => one.key === key);
      if (at >= 0) this.#end(this.#queue.splice(at, 1)[0], 'cancelled');
    }
    this.#next(now);
  }

  // --- the call ---

  /** The peer is who it says it is. @param {number} now */
  openGate(now) {
    if (this.#gate || this.#closed) return;
    this.#gate = true;
    if (this.#most === null) this.#patience = now + HELLO_PATIENCE;
    this.#send({type: 'hello', most: FILE_MAX});
    this.#next(now);
  }

  /** The deadline has come: a peer that has said nothing takes no files. @param {number} now */
  tick(now) {
    if (this.#patience === null || now < this.#patience) return;
    this.#patience = null;
    for (const one of this.#queue.splice(0)) this.#end(one, 'no-files');
  }

  /** The call is over, or the channel. Idempotent. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#patience = null;
    for (const one of [this.#in, this.#out, ...this.#queue.splice(0)]) if (one) this.#end(one, 'call-ended');
  }

  // --- the shell ---

  /** The channel's queue has room again. @param {number} now */
  pump(now) {
    const one = this.#out;
    if (!one || one.state !== 'running') return;
    while (one.ready.length && this.room > 0 && one.sent - one.acked < Math.floor(this.#window)) {
      const data = one.ready.shift();
      this.#send({type: 'chunk', transfer: one.id, number: one.sent, data});
      this.room -= data.length;
      one.sentAt.push(now);
      one.sent++;
    }
    if (!one.reading && one.ready.length < BLOCK / 2 && one.read < one.octets) {
      one.reading = true;
      this.#commands.push({do: 'read', key: one.key, from: one.read, octets: Math.min(BLOCK * CHUNK, one.octets - one.read)});
    } else if (one.sent === chunksOf(one.octets)) {
      one.state = 'checking';
      this.#commands.push({do: 'root', key: one.key});
      this.#show(one);
    }
  }

  /** What `read` asked for, hashed already. @param {string} key @param {Uint8Array[]} chunks @param {number} now */
  loaded(key, chunks, now) {
    const one = this.#out;
    if (one?.key !== key || !one.reading) return;
    one.reading = false;
    for (const chunk of chunks) {
      one.read += chunk.length;
      one.ready.push(chunk);
    }
    this.pump(now);
  }

  /** A file of ours can't be read. @param {string} key @param {number} now */
  unreadable(key, now) {
    if (this.#out?.key === key) this.#giveUp(this.#out, 'unreadable');
    this.#next(now);
  }

  /** What `root` asked for. @param {string} key @param {Uint8Array} root */
  rooted(key, root) {
    const one = this.#out;
    if (one?.key !== key || one.state !== 'checking' || one.ended) return;
    one.ended = true;
    this.#send({type: 'end', transfer: one.id, root});
  }

  /** A chunk is kept, in its order. @param {string} key */
  kept(key) {
    const one = this.#in;
    if (one?.key !== key) return;
    one.kept++;
    one.moved = Math.min(one.octets, one.kept * CHUNK);
    this.#send({type: 'ack', transfer: one.id, chunks: one.kept});
    this.#progress(one);
    this.#check(one);
  }

  /** There is no room to keep a chunk. @param {string} key */
  unkept(key) {
    if (this.#in?.key === key) this.#giveUp(this.#in, 'no-room');
  }

  /** What `check` asked for. @param {string} key @param {boolean} good */
  checked(key, good) {
    const one = this.#in;
    if (one?.key !== key || one.state !== 'checking') return;
    if (!good) {
      this.#strike('damaged');
      this.#giveUp(one, 'damaged');
      return;
    }
    this.#send({type: 'done', transfer: one.id});
    this.#finish(one);
  }

  // --- the peer ---

  /** What the channel delivered. @param {any} data @param {number} now */
  receive(data, now) {
    if (this.#closed) return;
    try {
      const message = decodeUntrusted(data);
      if (message.type === 'hello') this.#hello(message);
      else if (!this.#gate) this.#strike('early');
      else if (about(message.type) === 'in') this.#ofSender(message);
      else this.#ofReceiver(message, now);
    } catch (error) {
      if (!(error instanceof Rejected)) throw error;
      this.#strike(error.message);
      if (this.#gate) {
        if (error.about !== 'out' && this.#in) this.#giveUp(this.#in, 'rules');
        if (error.about !== 'in' && this.#out) this.#giveUp(this.#out, 'rules');
      }
    }
    this.#next(now);
  }

  #hello({version, most}) {
    if (version !== VERSION || this.#most !== null) {
      this.#counted('hello');
      return;
    }
    this.#most = most;
    this.#patience = null;
  }

  #ofSender(message) {
    const one = this.#in;
    if (message.type === 'offer') {
      this.#offered(message);
      return;
    }
    if (message.transfer > this.#lastIn) throw new Rejected('unknown-transfer', 'in');
    if (one?.id !== message.transfer) {  // it was on its way when the transfer ended here
      this.#counted('late');
      return;
    }
    switch (message.type) {
      case 'chunk': this.#chunk(one, message); break;
      case 'end':
        if (one.state !== 'running' || one.got !== chunksOf(one.octets)) throw new Rejected('end', 'in');
        one.state = 'checking';
        one.root = message.root;
        this.#show(one);
        this.#check(one);
        break;
      case 'cancel':
        if (one.state === 'offered') this.#strike('withdrawn');
        this.#end(one, `${message.reason}-there`);
        break;
    }
  }

  #offered({transfer, octets, name}) {
    if (transfer <= this.#lastIn) throw new Rejected('transfer', 'in');
    this.#lastIn = transfer;
    const refuse = reason => this.#send({type: 'refuse', transfer, reason});
    if (this.#in) {
      refuse('rules');
      throw new Rejected('two-offers', 'in');
    }
    if (this.#strikes >= STRIKES_MAX) {
      this.#counted('not-asked');
      refuse('declined');
      return;
    }
    const one = {key: `${this.#prefix}in-${transfer}`, way: 'in', id: transfer, name: cleanName(name), octets,
      moved: 0, state: 'offered', reason: '', shown: 0, got: 0, kept: 0, root: null};
    if (octets > FILE_MAX) {
      this.#strike('too-large');
      refuse('too-large');
      this.#end(one, 'too-large');
      return;
    }
    this.#in = one;
    this.#show(one);
  }

  #chunk(one, {number, data}) {
    if (one.state !== 'running') throw new Rejected('chunk-early', 'in');
    const expected = Math.min(CHUNK, one.octets - one.got * CHUNK);
    if (number !== one.got || data.length !== expected) throw new Rejected('chunk', 'in');
    if (one.got - one.kept >= WINDOW_MAX) throw new Rejected('flood', 'in');
    one.got++;
    this.#commands.push({do: 'keep', key: one.key, data});
  }

  /** Have the file checked when all of it is kept, and its root known. */
  #check(one) {
    if (one.state === 'checking' && one.kept === chunksOf(one.octets))
      this.#commands.push({do: 'check', key: one.key, root: one.root});
  }

  #ofReceiver(message, now) {
    const one = this.#out;
    if (message.transfer > this.#lastOut || message.transfer === 0) throw new Rejected('unknown-transfer', 'out');
    if (one?.id !== message.transfer) {
      this.#counted('late');
      return;
    }
    switch (message.type) {
      case 'accept':
        if (one.state !== 'offered') throw new Rejected('accept', 'out');
        one.state = 'running';
        this.#show(one);
        this.pump(now);
        break;
      case 'ack':
        if (message.chunks <= one.acked || message.chunks > one.sent) throw new Rejected('ack', 'out');
        this.#steer(one.sentAt.splice(0, message.chunks - one.acked).pop(), now);
        one.acked = message.chunks;
        one.moved = Math.min(one.octets, one.acked * CHUNK);
        this.#progress(one);
        this.pump(now);
        break;
      case 'done':
        if (!one.ended || one.acked !== one.sent) throw new Rejected('done', 'out');
        this.#finish(one);
        break;
      case 'refuse':
        this.#end(one, `${message.reason}-there`);
        break;
    }
  }

  /** Less on the way when acknowledgements take long, before sound and pictures have to queue behind the file. */
  #steer(sentAt, now) {
    const took = now - sentAt;
    this.#fastest = Math.min(this.#fastest, took);
    if (took <= this.#fastest + DELAY_MAX) {
      this.#window = Math.min(WINDOW_MAX, this.#window + (this.#slowed ? 1 / this.#window : 1));
    } else if (now >= this.#slowed) {
      this.#window = Math.max(WINDOW_MIN, this.#window / 2);
      this.#slowed = now + took;  // what is on its way already tells nothing new
    }
  }

  // --- all of them ---

  /** Offer the next file, if the peer takes any and none is under way. */
  #next(now) {
    while (!this.#out && this.#gate && this.#most !== null && this.#queue.length) {
      const one = this.#queue.shift();
      if (one.octets > this.#most) {
        this.#end(one, 'too-large-there');
        continue;
      }
      Object.assign(one, {id: ++this.#lastOut, state: 'offered', ready: [], reading: false, read: 0, sent: 0, acked: 0,
        sentAt: [], ended: false});
      this.#out = one;
      this.#send({type: 'offer', transfer: one.id, octets: one.octets, name: one.name});
      this.#show(one);
    }
    this.pump(now);
  }

  #giveUp(one, reason) {
    this.#send({type: one.way === 'in' ? 'refuse' : 'cancel', transfer: one.id, reason});
    this.#end(one, reason);
  }

  #end(one, reason) {
    one.state = 'ended';
    one.reason = reason;
    this.#leave(one);
    this.#commands.push({do: 'drop', key: one.key});
    this.#show(one);
  }

  #finish(one) {
    one.state = 'done';
    one.moved = one.octets;
    this.#leave(one);
    this.#show(one);
  }

  #leave(one) {
    if (this.#in === one) this.#in = null;
    if (this.#out === one) this.#out = null;
  }

  #progress(one) {
    const step = Math.floor((one.moved / one.octets) * STEPS);
    if (step > one.shown) {
      one.shown = step;
      this.#show(one);
    }
  }

  #show({key, way, name, octets, moved, state, reason}) {
    this.#commands.push({do: 'show', view: {key, way, name, octets, moved, state, reason, over: over(state)}});
  }

  #send(message) {
    if (!this.#closed) this.#commands.push({do: 'send', data: encode(message)});
  }

  #counted(reason) { this.counters[reason] = (this.counters[reason] ?? 0) + 1; }

  #strike(reason) {
    this.#counted(reason);
    this.#strikes++;
  }
}
