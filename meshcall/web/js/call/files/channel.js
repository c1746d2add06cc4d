// The file channel of one call: the machine, with a data channel, files and a clock. Events: `transfer`.
//
// Law: files have a channel of their own. On the control channel, chat and the daemons' messages would queue behind.

import {BUFFER_HIGH, BUFFER_LOW, CHUNK} from './limits.js';
import {Transfers} from './machine.js';
import {Arriving, Leaving} from './store.js';

/** What is negotiated at both ends: none of it travels. */
export const CHANNEL = {label: 'files', init: {negotiated: true, id: 1}};

/** Files of one call. */
export class FileChannel extends EventTarget {
  /** @param {RTCDataChannel} channel @param {string} prefix of the keys of transfers */
  constructor(channel, prefix) {
    super();
    this.channel = channel;
    this.machine = new Transfers(prefix);
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = BUFFER_LOW;
    channel.addEventListener('message', event => this.#do(now => this.machine.receive(event.data, now)));
    channel.addEventListener('bufferedamountlow', () => this.#do(now => this.machine.pump(now)));
    channel.addEventListener('open', () => this.#begin());
    channel.addEventListener('close', () => this.close());
  }

  #files = new Map();
  #gate = false;
  #timer = 0;

  /** The peer is who it says it is. */
  openGate() {
    this.#gate = true;
    this.#begin();
  }

  /** Offer files. @param {File[]} files */
  add(files) {
    this.#do(now => {
      // Their order is that of the keys; a command that wants one comes after this.
      const keys = this.machine.add(files.map(file => ({name: file.name, octets: file.size})), now);
      keys.forEach((key, number) => this.#files.set(key, new Leaving(files[number], CHUNK)));
    });
  }

  /** @param {string} key */
  accept(key) { this.#do(() => this.machine.accept(key)); }

  /** Decline what is offered, or give up what is under way. @param {string} key */
  stop(key) { this.#do(now => this.machine.stop(key, now)); }

  /** The call is over. Idempotent. */
  close() {
    window.clearTimeout(this.#timer);
    this.#do(() => this.machine.close());
  }

  #begin() {
    if (this.#gate && this.channel.readyState === 'open') this.#do(now => this.machine.openGate(now));
  }

  /** One input of the machine, and all that follows from it. */
  #do(input) {
    this.machine.room = BUFFER_HIGH - this.channel.bufferedAmount;
    input(performance.now());
    for (const command of this.machine.drain()) this.#carryOut(command);
    window.clearTimeout(this.#timer);
    const due = this.machine.deadline();
    if (due !== null)
      this.#timer = window.setTimeout(() => this.#do(now => this.machine.tick(now)), Math.max(0, due - performance.now()) + 1);
  }

  #carryOut({do: what, key, ...words}) {
    switch (what) {
      case 'send': if (this.channel.readyState === 'open') this.channel.send(words.data); break;
      case 'show': this.#show(words.view); break;
      case 'drop': this.#files.delete(key); break;
      case 'read': this.#read(key, words.from, words.octets); break;
      case 'root': this.#root(key); break;
      case 'keep': this.#keep(key, words.data); break;
      case 'check': this.#check(key, words.root); break;
    }
  }

  #show(view) {
    const file = view.way === 'in' && view.state === 'done' ? this.#files.get(view.key)?.blob() ?? new Blob() : null;
    if (view.state === 'done') this.#files.delete(view.key);
    this.dispatchEvent(new CustomEvent('transfer', {detail: {...view, file}}));
  }

  async #read(key, from, octets) {
    let chunks;
    try {
      chunks = await this.#files.get(key).read(from, octets);
    } catch {
      this.#do(now => this.machine.unreadable(key, now));
      return;
    }
    this.#do(now => this.machine.loaded(key, chunks, now));
  }

  async #root(key) {
    const root = await this.#files.get(key).root();
    this.#do(() => this.machine.rooted(key, root));
  }

  async #keep(key, data) {
    if (!this.#files.has(key)) this.#files.set(key, new Arriving());
    try {
      await this.#files.get(key).keep(data);
    } catch {
      this.#do(() => this.machine.unkept(key));
      return;
    }
    this.#do(() => this.machine.kept(key));
  }

  async #check(key, root) {
    const arriving = this.#files.get(key) ?? new Arriving();  // an empty file has no chunks
    const good = await arriving.check(root);
    this.#do(() => this.machine.checked(key, good));
  }
}
