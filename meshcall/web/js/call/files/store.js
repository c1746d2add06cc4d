// What has arrived of a file: its chunks, hashed in their order, and the whole as a Blob.
//
// Law: a Blob of a peer's octets is a plain file. With a type it could be opened as a page of ours.

import {FileHash, same} from './hash.js';

const PLAIN = 'application/octet-stream';
const TOGETHER = 256;  // chunks that become one Blob, which the browser may put on the disk

/** One file that comes. */
export class Arriving {
  #hash = new FileHash();
  #chunks = [];
  #blobs = [];
  #turn = Promise.resolve();

  /** Keep a chunk; resolves when it is kept, in the order of the calls. @param {Uint8Array} chunk */
  keep(chunk) {
    this.#turn = this.#turn.then(async () => {
      await this.#hash.add(chunk);
      this.#chunks.push(chunk);
      if (this.#chunks.length >= TOGETHER) this.#blobs.push(new Blob(this.#chunks.splice(0), {type: PLAIN}));
    });
    return this.#turn;
  }

  /** Whether all that is kept has that root. @param {Uint8Array} root */
  async check(root) {
    return same(await this.#hash.root(), root);
  }

  /** The whole. */
  blob() { return new Blob([...this.#blobs, ...this.#chunks], {type: PLAIN}); }
}

/** One file that goes. */
export class Leaving {
  #hash = new FileHash();

  /** @param {Blob} file @param {number} chunk octets */
  constructor(file, chunk) {
    this.file = file;
    this.chunk = chunk;
  }

  /** Chunks from an offset on, hashed. Throws if the file can't be read any more. */
  async read(from, octets) {
    const data = new Uint8Array(await this.file.slice(from, from + octets).arrayBuffer());
    if (data.length !== octets) throw new DOMException('the file is shorter now', 'NotReadableError');
    const chunks = [];
    for (let at = 0; at < octets; at += this.chunk) chunks.push(data.subarray(at, at + this.chunk));
    for (const chunk of chunks) await this.#hash.add(chunk);
    return chunks;
  }

  root() { return this.#hash.root(); }
}
