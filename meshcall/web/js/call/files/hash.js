// The hash of a file that comes in chunks: crypto.subtle has none that goes on, so it is a hash over hashes.
//
// root = SHA-256("meshcall/1/file" 0x00 ‖ octets(u64) ‖ SHA-256(chunk 0) ‖ SHA-256(chunk 1) ‖ …)

const LABEL = new TextEncoder().encode('meshcall/1/file\0');
const SHA256 = 32;

const sha256 = async data => new Uint8Array(await crypto.subtle.digest('SHA-256', data));

/** Of one file. Chunks are given in their order. */
export class FileHash {
  #hashes = [];
  #octets = 0;

  /** @param {Uint8Array} chunk */
  async add(chunk) {
    this.#octets += chunk.length;
    this.#hashes.push(await sha256(chunk));
  }

  /** The root of all chunks so far. @returns {Promise<Uint8Array>} 32 octets */
  root() {
    const start = LABEL.length + 8;
    const all = new Uint8Array(start + SHA256 * this.#hashes.length);
    all.set(LABEL);
    new DataView(all.buffer).setBigUint64(LABEL.length, BigInt(this.#octets));
    this.#hashes.forEach((hash, number) => all.set(hash, start + SHA256 * number));
    return sha256(all);
  }
}

/** @param {Uint8Array} one @param {Uint8Array} other */
export const same = (one, other) => one.length === other.length && one.every((octet, at) => octet === other[at]);
