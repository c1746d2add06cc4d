// Messages on the file channel (negotiated data channel id 1), between the two pages of one call. Pure.
//
// Law 1: what a peer's page sends becomes a message by `decodeUntrusted`, which throws `Rejected` and nothing else.
// Law 2: lengths are exact; only a hello may be longer, so that newer pages can say more.
//
// docs/protocol/files.md has the rest. Integers are big-endian.
//
// 0        1
// +--------+------------------------------+
// |  type  | body                         |
// +--------+------------------------------+
// 0x01 hello     9..   version(u8) most(u64): the sender takes files of so many octets
//      of who sends the file:
// 0x02 offer    13..   transfer(u32) octets(u64) name: UTF-8
// 0x03 chunk     9..   transfer(u32) number(u32) octets
// 0x04 end      36     transfer(u32) root(32)
// 0x05 cancel    5     transfer(u32) reason(u8)
//      of who receives it:
// 0x12 accept    4     transfer(u32)
// 0x13 ack       8     transfer(u32) chunks(u32): so many are kept
// 0x14 done      4     transfer(u32)
// 0x15 refuse    5     transfer(u32) reason(u8)

import {CHUNK, NAME_SENT_MAX} from './limits.js';

export const VERSION = 1;

/** Why a transfer ends, by number on the wire. */
export const REASONS = [
  'unknown', 'declined', 'cancelled', 'too-large', 'rules', 'damaged', 'unreadable', 'no-room',
];

const TYPES = {
  hello: 0x01, offer: 0x02, chunk: 0x03, end: 0x04, cancel: 0x05, accept: 0x12, ack: 0x13, done: 0x14, refuse: 0x15,
};
const NAMES = Object.fromEntries(Object.entries(TYPES).map(([name, type]) => [type, name]));
const OF_SENDER = new Set(['offer', 'chunk', 'end', 'cancel']);
const OF_RECEIVER = new Set(['accept', 'ack', 'done', 'refuse']);

/** What a peer sent is no message. `about`: whose transfer it would have been, `in` or `out`; empty: unknown. */
export class Rejected extends Error {
  constructor(reason, about = '') {
    super(reason);
    this.about = about;
  }
}

/** Which of our transfers a message of the peer is about: one that comes `in`, or goes `out`. @param {string} type */
export function about(type) {
  return OF_SENDER.has(type) ? 'in' : OF_RECEIVER.has(type) ? 'out' : '';
}

function message(type, length) {
  const data = new Uint8Array(1 + length);
  data[0] = TYPES[type];
  return {data, view: new DataView(data.buffer)};
}

/** The octets of a message. @param {any} content `type` and what that has @returns {Uint8Array} */
export function encode(content) {
  const {type, transfer} = content;
  const name = type === 'offer' ? new TextEncoder().encode(content.name) : null;
  const lengths = {
    hello: 9, offer: 12 + (name?.length ?? 0), chunk: 8 + (content.data?.length ?? 0), end: 36, cancel: 5,
    accept: 4, ack: 8, done: 4, refuse: 5,
  };
  const {data, view} = message(type, lengths[type]);
  if (type === 'hello') {
    view.setUint8(1, VERSION);
    view.setBigUint64(2, BigInt(content.most));
    return data;
  }
  view.setUint32(1, transfer);
  switch (type) {
    case 'offer': view.setBigUint64(5, BigInt(content.octets)); data.set(name, 13); break;
    case 'chunk': view.setUint32(5, content.number); data.set(content.data, 9); break;
    case 'end': data.set(content.root, 5); break;
    case 'ack': view.setUint32(5, content.chunks); break;
    case 'cancel': case 'refuse': view.setUint8(5, Math.max(0, REASONS.indexOf(content.reason))); break;
  }
  return data;
}

function size(view, at) {
  const value = view.getBigUint64(at);
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
}

function text(octets, whose) {
  try {
    return new TextDecoder('utf-8', {fatal: true}).decode(octets);
  } catch {
    throw new Rejected('name', whose);
  }
}

/** The message in `data`; throws Rejected. @param {any} data what the channel delivered @returns {any} */
export function decodeUntrusted(data) {
  if (!(data instanceof ArrayBuffer) || data.byteLength === 0) throw new Rejected('form');
  const view = new DataView(data);
  const type = NAMES[view.getUint8(0)];
  if (!type) throw new Rejected('type');
  const length = data.byteLength - 1;
  const whose = about(type);
  const check = right => { if (!right) throw new Rejected('length', whose); };
  if (type === 'hello') {
    check(length >= 9);
    return {type, version: view.getUint8(1), most: size(view, 2)};
  }
  check(length >= 4);
  const transfer = view.getUint32(1);
  const rest = new Uint8Array(data, 5);
  switch (type) {
    case 'offer':
      check(rest.length > 8 && rest.length <= 8 + NAME_SENT_MAX);
      return {type, transfer, octets: size(view, 5), name: text(rest.subarray(8), whose)};
    case 'chunk':
      check(rest.length > 4 && rest.length <= 4 + CHUNK);
      return {type, transfer, number: view.getUint32(5), data: rest.subarray(4)};
    case 'end':
      check(rest.length === 32);
      return {type, transfer, root: rest};
    case 'ack':
      check(rest.length === 4);
      return {type, transfer, chunks: view.getUint32(5)};
    case 'cancel': case 'refuse':
      check(rest.length === 1);
      return {type, transfer, reason: REASONS[rest[0]] ?? 'unknown'};
    default:
      check(rest.length === 0);
      return {type, transfer};
  }
}
