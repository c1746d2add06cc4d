// What the page knows, and who wants to know of changes.

import * as api from './api.js';

const LIVE = new Set(['calling', 'ringing', 'incoming', 'connecting', 'connected', 'degraded', 'reconnecting']);

/** The page's state. Change it by its methods; they tell `change`. */
class Store extends EventTarget {
  constructor() {
    super();
    this.up = false;
    this.me = null;
    this.status = null;
    /** What is set at the daemon, and where each value comes from. */
    this.settings = null;
    this.peers = [];
    this.calls = new Map();
    this.history = [];
    /** Rooms that we are in or know, by ID; and those on this LAN. */
    this.rooms = new Map();
    this.here = [];
    this.owner = true;
  }

  changed(what) { this.dispatchEvent(new CustomEvent('change', {detail: what})); }

  /** Everything anew: after a start, and when the daemon came back. */
  async refresh() {
    const [me, status, settings, peers, calls, history, rooms] = await Promise.all([
      api.get('id'), api.get('status'), api.get('settings'), api.get('peers'), api.get('calls'), api.get('history'),
      api.get('rooms'),
    ]);
    Object.assign(this, {me, status, settings, peers: peers.peers, history: history.calls});
    this.calls = new Map(calls.calls.map(call => [call.id, call]));
    this.#takeRooms(rooms);
    this.changed('all');
  }

  /** Something was set, here or elsewhere. @param {any} settings */
  async take(settings) {
    this.settings = settings;
    [this.me, this.status] = await Promise.all([api.get('id'), api.get('status')]);  // both have the name
    this.changed('settings');
  }

  async refreshPeers() {
    this.peers = (await api.get('peers')).peers;
    this.changed('peers');
  }

  async refreshHistory() {
    const [history, status] = await Promise.all([api.get('history'), api.get('status')]);
    Object.assign(this, {history: history.calls, status});
    this.changed('history');
  }

  #takeRooms({rooms, here}) {
    this.rooms = new Map(rooms.map(room => [room.id, room]));
    this.here = here;
  }

  async refreshRooms() {
    this.#takeRooms(await api.get('rooms'));
    this.changed('rooms');
  }

  /** We leave a room; the daemon may say so a moment later. @param {string} id */
  leftRoom(id) {
    const room = this.rooms.get(id);
    if (room?.state === 'joined') this.rooms.set(id, {...room, state: 'known', members: [], locked: false});
    else this.rooms.delete(id);
  }

  /** The LAN has other rooms. @param {any[]} here */
  takeHere(here) {
    this.here = here;
    this.changed('rooms');
  }

  async refreshCall(id) {
    const {calls} = await api.get('calls');
    this.calls = new Map(calls.map(call => [call.id, call]));
    this.changed('calls');
    return this.calls.get(id);
  }

  /** Calls that have not ended. */
  live() { return [...this.calls.values()].filter(call => LIVE.has(call.state)); }

  contact(peerId) { return this.peers.find(peer => peer.peer_id === peerId); }

  /** What to call a peer: our own name for it, else what it calls itself, in quotes, else its short form. */
  nameOf(peerId, selfName = '') {
    const peer = this.contact(peerId);
    if (peer?.name) return peer.name;
    const own = selfName || peer?.self_name;
    return own ? `“${own}” (${peerId.slice(0, 7)})` : peerId.slice(0, 7);
  }
}

export const store = new Store();

/** Set something at the daemon; what is not named stays. @param {Record<string, any>} wanted */
export async function change(wanted) {
  await store.take(await api.send('POST', ['settings'], wanted));
}
