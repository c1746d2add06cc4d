// The page: logs in, listens, shows the view that was chosen, and the call that is on.

import * as api from './api.js';
import {ignoreOtherDrops} from './call/files/drop.js';
import {Peer} from './call/peer.js';
import {CallScreen} from './call/screen.js';
import {Studio} from './call/studio.js';
import {announce, dialog, el, icon, toast} from './dom.js';
import {has, load, t} from './i18n.js';
import {Ring} from './ring.js';
import * as meeting from './room/kept.js';
import {RoomScreen} from './room/screen.js';
import {store} from './store.js';
import {contactsView} from './views/contacts.js';
import {diagnosticsView} from './views/diagnostics.js';
import {historyView, requestsView} from './views/history.js';
import {joinRoom, roomsView} from './views/rooms.js';
import {settingsView, syncSettings} from './views/settings.js';
import {welcome} from './views/welcome.js';

const VIEWS = {contacts: 'people', rooms: 'room', history: 'clock', requests: 'inbox', diagnostics: 'wrench', settings: 'gear'};
const UNANSWERED = new Set(['calling', 'ringing', 'connecting']);
const LATE = 3000;  // ms in which the end of the page before a reload may still be told
const STAYING = new Set(['settings', 'diagnostics']);  // a form, and what takes seconds to find out

/** The whole page. */
class App {
  constructor() {
    this.connection = new api.Connection();
    this.ring = new Ring();
    this.peers = new Map();
    this.screen = null;
    this.room = null;
    this.studio = null;
    this.calling = false;
    this.leaving = '';
    this.cameBack = -Infinity;
    this.mine = new Set();
    this.releaseTab = null;
    this.wired = false;
    this.pressed = false;
    this.late = '';  // what changed while something was pressed
    this.root = document.getElementById('app');
    this.main = el('main', {id: 'main', tabindex: -1});
    this.logo = el('img', {src: 'icon.svg', alt: '', width: 28, height: 28});  // made once: a new one flickers
    this.incoming = el('div.incoming', {role: 'alertdialog', 'aria-labelledby': 'incoming-title', hidden: true});
    this.banner = el('p.banner', {role: 'alert', hidden: true});
    this.actions = {
      call: (peer, video) => this.call(peer.peer_id, video),
      answer: (call, video) => this.answer(call, video),
      decline: call => this.decline(call),
      send: (peer, files) => this.send(peer, files),
      create: wanted => this.enter(['rooms'], wanted),
      join: wanted => this.enter(['rooms', 'join'], wanted),
      joinBy: text => joinRoom(this.actions, text),
    };
  }

  async start() {
    await load();
    ignoreOtherDrops();
    document.getElementById('skip').textContent = t('skip');
    const token = /^#login=(.+)$/.exec(location.hash)?.[1];
    if (token) {
      history.replaceState(null, '', '/');
      try {
        await api.logIn(token);
      } catch (error) {
        return this.locked(error);
      }
    }
    try {
      await store.refresh();
    } catch (error) {
      if (error.status === 401 || error.status === 403) return this.locked(error);
    }
    if (!await this.#own()) return this.elsewhere();
    meeting.begin();
    this.#listen();
    this.draw();
    if (store.settings && !store.settings.welcomed) await welcome(this.actions);
  }

  /** Not logged in: how to. */
  locked(error) {
    this.root.replaceChildren(el('main.locked', {id: 'main'},
      el('img', {src: 'icon.svg', alt: '', width: 72, height: 72}),
      el('h1', {}, 'meshcall'), el('p', {}, t('locked')), el('p.mono', {}, 'meshcall open'),
      el('p.hint', {role: 'alert'}, error?.message ?? '')));
  }

  /** Another tab has the calls. */
  elsewhere() {
    this.root.replaceChildren(el('main.locked', {id: 'main'},
      el('h1', {}, t('elsewhere')), el('p', {}, t('elsewhere.hint')),
      el('button.primary', {onclick: () => this.#take()}, t('elsewhere.take'))));
  }

  /** One tab owns the calls: the first one, until another one takes over. */
  #own(steal = false) {
    return new Promise(resolve => {
      navigator.locks.request('meshcall', {ifAvailable: !steal, steal}, lock => {
        if (!lock) { resolve(false); return undefined; }
        resolve(true);
        return new Promise(release => { this.releaseTab = release; });
      }).catch(() => this.#lostTab());
    });
  }

  /** Have the calls from now on, and go on in the meeting of the tab that had them. */
  async #take() {
    meeting.takeOver();
    await this.#own(true);
    this.#listen();
    await store.refresh();
    this.draw();
  }

  #lostTab() {
    meeting.handOver();
    this.connection.close();
    this.#dropAll();
    for (const open of document.querySelectorAll('dialog[open]')) /** @type {HTMLDialogElement} */ (open).close();
    this.elsewhere();
  }

  /** Calls and meetings are over, without a word to anybody. */
  #dropAll() {
    store.up = false;
    for (const peer of this.peers.values()) peer.close();
    this.peers.clear();
    this.#closeScreen();
    this.#closeRoom();
    this.ring.stop();
    this.incoming.hidden = true;
  }

  /** Hear the daemon. A tab that takes the calls back has its listeners still. */
  #listen() {
    const {connection} = this;
    if (!this.wired) this.#wire();
    this.wired = true;
    connection.open();
  }

  #wire() {
    const {connection} = this;
    connection.addEventListener('up', async () => {
      store.up = true;
      this.#showBanner('');
      await store.refresh().catch(() => {});
      this.draw();
      this.#showIncoming();
      this.#comeBack();
    });
    connection.addEventListener('down', () => {
      this.#dropAll();
      this.#showBanner(t('daemon.down'));
      this.draw();
    });
    connection.addEventListener('event', event => this.#event(event.detail));
    connection.addEventListener('media', event => this.#media(event.detail));
    store.addEventListener('change', change => this.draw(/** @type {CustomEvent} */ (change).detail));
    window.addEventListener('hashchange', () => { this.draw(); this.#begin(); });
    document.addEventListener('dialogs', () => this.#placeIncoming());
    window.addEventListener('pointerdown', () => { this.pressed = true; });
    for (const name of ['pointerup', 'pointercancel', 'blur'])
      window.addEventListener(name, () => window.setTimeout(() => this.#release()));  // after the click that follows
    window.addEventListener('pagehide', () => {
      for (const peer of this.peers.values()) peer.close();
      connection.close();
    });
  }

  // --- what is shown ---

  get view() {
    const name = location.hash.slice(1);
    return name in VIEWS ? name : 'contacts';
  }

  /** @param {string} [what] what changed: no form is drawn anew under somebody's hands for a smaller reason than all */
  draw(what = 'all') {
    const {view} = this;
    if (!store.me || (this.room && what !== 'all')) return;  // a meeting covers all
    if (this.pressed && what !== 'all') { this.late = what; return; }  // what is pressed has to be there until it is let go
    const stays = STAYING.has(view) && this.drawn === view && what !== 'all' && this.main.isConnected;
    this.drawn = view;
    const missed = store.status?.missed ?? 0;
    const asking = store.live().filter(call => call.stranger && call.state === 'incoming').length;
    const badge = {history: missed, requests: asking};
    const navigation = el('nav', {'aria-label': t('navigation')}, Object.entries(VIEWS).map(([name, picture]) =>
      el('a', {href: `#${name}`, 'aria-current': name === view ? 'page' : null}, icon(/** @type {any} */ (picture)),
        el('span', {}, t(name)), badge[name] > 0 && el('span.badge', {'aria-label': t('badge', {count: badge[name]})},
          String(badge[name])))));
    const focused = document.activeElement?.id;
    const top = el('header.top', {}, this.logo,
      el('span.brand', {}, 'meshcall'), el('span.mono.own', {title: store.me.peer_id}, store.status?.name || store.me.short),
      el('span.link', {'data-up': String(store.up)}, t(store.up ? 'daemon.up' : 'daemon.connecting')));
    if (stays) {
      this.root.querySelector('header.top').replaceWith(top);
      this.root.querySelector('nav').replaceWith(navigation);
      if (view === 'settings') syncSettings();
    } else {
      this.main.replaceChildren(this.#viewOf(view));
      this.root.replaceChildren(top, this.banner, navigation, this.main,
        ...[this.screen, this.room].filter(Boolean).map(one => one.element));
    }
    this.#placeIncoming();
    for (const one of this.root.querySelectorAll(':scope > header, :scope > nav, :scope > main'))
      /** @type {HTMLElement} */ (one).inert = Boolean(this.room);
    document.body.classList.toggle('in-call', Boolean(this.screen ?? this.room));
    if (focused) document.getElementById(focused)?.focus({preventScroll: true});  // it was where it is
    document.title = missed + asking > 0 ? `(${missed + asking}) meshcall` : 'meshcall';
  }

  /** Who goes to a view is at its beginning, with its head in sight. */
  #begin() {
    window.scrollTo(0, 0);
    this.main.focus({preventScroll: true});
  }

  #release() {
    this.pressed = false;
    const {late} = this;
    this.late = '';
    if (late) this.draw(late);
  }

  #viewOf(view) {
    switch (view) {
      case 'rooms': return roomsView(this.actions);
      case 'history': return historyView(this.actions);
      case 'requests': return requestsView(this.actions);
      case 'diagnostics': return diagnosticsView();
      case 'settings': return settingsView({redraw: () => this.draw(), welcome: () => welcome(this.actions)});
      default: return contactsView(this.actions);
    }
  }

  #showBanner(text) {
    this.banner.textContent = text;
    this.banner.hidden = !text;
  }

  // --- events of the node ---

  #event(event) {
    const call = event.call && store.calls.get(event.call);
    const set = change => {
      const known = store.calls.get(event.call) ?? {id: event.call, timeline: {}, path: ''};
      const now = {...known, ...change};
      store.calls.set(event.call, now);
      if (this.screen?.call.id === event.call) this.screen.update(now);
      return now;
    };
    switch (event.event) {
      case 'incoming':
        set({peer_id: event.peer_id, name: event.name, self_name: event.self_name, stranger: event.stranger,
          state: 'incoming', direction: 'in'});
        this.#showIncoming();
        break;
      case 'looking-up': case 'calling': set({state: 'calling'}); break;
      case 'ringing': set({state: 'ringing'}); announce(t('state.ringing')); break;
      case 'connecting': set({state: 'connecting'}); this.#showIncoming(); break;
      case 'connected':
        set({state: 'connected', path: event.path, timeline: event.timeline});
        announce(t('state.connected'));
        this.screen?.tellMedia();
        break;
      case 'path': set({state: event.path ? 'connected' : 'reconnecting', path: event.path}); break;
      case 'degraded': set({state: 'degraded'}); break;
      case 'chat':
        if (UNANSWERED.has(call?.state)) set({said: event.text});
        if (this.screen?.call.id === event.call) this.screen.addLine(event);
        break;
      case 'peer-media': this.screen?.call.id === event.call && this.screen.setPeerMedia(event); break;
      case 'ended': set({state: 'ended', reason: event.reason}); this.#ended(event, call); break;
      case 'room': this.#roomChanged(event.room); return;
      case 'room-chat': if (this.room?.room.id === event.room) this.room.addLine(event); return;
      case 'room-ended': this.#roomEnded(event); return;
      case 'lan-rooms': store.takeHere(event.here); return;
      case 'presence': case 'contacts': case 'contact-request': store.refreshPeers(); return;
      case 'settings': store.take(event.settings).catch(() => {}); return;
      case 'missed': store.refreshHistory(); announce(t('history.missed')); return;
      case 'warning': announce(event.message); return;
      case 'lagged': store.refresh(); return;
      default: return;
    }
    store.changed('calls');
  }

  #showIncoming() {
    const call = store.live().find(one => one.state === 'incoming' && !one.stranger);
    this.incoming.hidden = !call;
    this.#placeIncoming();
    if (!call) { this.ring.stop(); return; }
    const name = store.nameOf(call.peer_id, call.self_name);
    this.incoming.replaceChildren(
      el('h2', {id: 'incoming-title'}, t('incoming', {name})),
      el('div.buttons', {},
        el('button.primary', {id: 'answer-video', onclick: () => this.answer(call, true)}, icon('camera'), t('answer.video')),
        el('button.primary', {id: 'answer-audio', onclick: () => this.answer(call, false)}, icon('phone'), t('answer.audio')),
        el('button', {id: 'decline-words', onclick: () => this.#say(call, name)}, icon('chat'), t('decline.say')),
        el('button.danger', {id: 'decline', onclick: () => this.decline(call)}, icon('hangup'), t('decline'))));
    this.ring.start(name);
  }

  /** A call can be taken whatever dialog is open. */
  #placeIncoming() {
    const modal = [...document.querySelectorAll('dialog[open]')].at(-1);
    const place = (this.incoming.hidden ? null : modal) ?? this.root;
    if (this.incoming.parentElement !== place) place.prepend(this.incoming);
  }

  /** Decline with a line for the caller. */
  #say(call, name) {
    const field = el('input', {id: 'words', maxlength: 100, autocomplete: 'off'});
    const ready = ['decline.later', 'decline.busy', 'decline.write'];
    return dialog(t('decline.say.to', {name}), close => {
      const send = text => { close(); this.decline(call, text); };
      return [
        el('div.buttons', {}, ready.map(key => el('button', {onclick: () => send(t(key))}, t(key)))),
        el('form', {onsubmit: event => { event.preventDefault(); send(field.value); }},
          el('label', {for: 'words'}, t('decline.words')), field,
          el('div.buttons', {}, el('button', {type: 'button', onclick: () => close()}, t('cancel')),
            el('button.danger', {type: 'submit'}, t('decline')))),
      ];
    });
  }

  #ended(event, call) {
    this.mine.delete(event.call);
    this.#showIncoming();
    if (this.screen?.call.id === event.call) this.#closeScreen();
    const name = store.nameOf(event.peer_id || call?.peer_id || '', call?.self_name);
    const text = event.error ? event.error.message : has(`end.${event.reason}`) ? t(`end.${event.reason}`, {name}) : '';
    if (call?.said) toast(text, t('said', {text: call.said}), 30_000);
    else if (text) toast(text, event.error?.hint);
    store.refreshHistory().catch(() => {});
  }

  #closeScreen() {
    this.screen?.close();
    this.screen = null;
    document.body.classList.remove('in-call');
  }

  // --- rooms ---

  /**
   * Go into a room, or make one. Camera and microphone first: somebody may have to allow them, and members wait
   * for an answer. Throws what the daemon says.
   * @param {string[]} parts where to ask @param {any} wanted
   */
  async enter(parts, {audio = true, ...wanted}) {
    if (this.screen || this.room || this.studio) throw new api.ApiError(0, {code: 'busy', message: t('room.busy')});
    const studio = this.studio = new Studio({audio, video: wanted.video});
    try {
      await studio.open();
      const page = await this.connection.name();
      this.#openRoom(await api.send('POST', parts, {...wanted, page}));
    } catch (error) {
      studio.close();
      throw error;
    } finally {
      this.studio = null;
    }
  }

  #openRoom(room) {
    for (const old of document.querySelectorAll('.toast')) old.remove();
    store.rooms.set(room.id, store.rooms.get(room.id) ?? room);
    this.room = new RoomScreen(store.rooms.get(room.id), this.studio, {
      leave: () => this.leaveRoom(), failed: error => toast(error.message, error.hint),
    });
    this.studio.addEventListener('stream', () => this.#remember());
    this.#remember();
    for (const peer of this.peers.values()) if (peer.room === room.id) this.room.attach(peer);
    this.draw();
    this.room.element.querySelector('#tool-leave').focus();
  }

  #remember() {
    if (this.room?.room.state === 'joined') meeting.keep({room: this.room.room.id, ...this.room.studio.wanted});
  }

  /** After a reload, in a tab that takes over, and when the daemon is there again: back to where we were. */
  async #comeBack() {
    const wanted = meeting.kept();
    if (!wanted || this.room || this.screen) return;
    if (!store.rooms.has(wanted.room)) { meeting.forget(); return; }
    this.cameBack = performance.now();
    await this.enter(['rooms', 'join'], wanted).catch(error => toast(error.message, error.hint));
  }

  #closeRoom() {
    this.room?.close();
    this.room = null;
    document.body.classList.remove('in-call');
  }

  async leaveRoom() {
    const {room} = this;
    if (!room) return;
    meeting.forget();
    const {id} = room.room;
    this.leaving = id;
    store.leftRoom(id);
    this.room = null;
    room.close(false);
    document.body.classList.remove('in-call');
    this.draw();
    this.#begin();
    await api.send('POST', ['rooms', id, 'leave']).catch(error => toast(error.message, error.hint));
    room.hangUp();
    this.leaving = '';
  }

  #roomChanged(room) {
    if (room.id === this.leaving) return;  // it was told before the daemon knew
    store.rooms.set(room.id, room);
    const ours = this.room?.room;
    if (this.room && (ours.id === room.id || ours.id === '')) {
      this.room.update(room);
      this.#remember();
    }
    if (this.view === 'rooms') store.changed('rooms');
  }

  #roomEnded({room, reason}) {
    const ended = store.rooms.get(room);
    if (this.room?.room.id !== room) { store.refreshRooms().catch(() => {}); return; }
    if (reason === 'admitted') { this.room.admitted(); return; }
    const cameBack = reason === 'left' && performance.now() < this.cameBack + LATE;
    if (!cameBack) meeting.forget();
    this.#closeRoom();
    store.refreshRooms().catch(() => {});
    this.draw();
    const key = `room.end.${reason}`;
    if (has(key)) toast(t(key, {name: ended?.name ?? ''}));
    if (cameBack) this.#comeBack();
  }

  // --- calls ---

  #open(call) {
    this.#closeScreen();
    for (const old of document.querySelectorAll('.toast')) old.remove();  // it is about what was before
    this.mine.add(call.id);
    store.calls.set(call.id, {...store.calls.get(call.id), ...call});
    this.screen = new CallScreen(store.calls.get(call.id), {hangup: () => this.hangup(call.id)});
    for (const peer of this.peers.values()) if (peer.peer === call.peer_id) this.screen.attach(peer);
    this.draw();
    this.screen.element.querySelector('#tool-hangup').focus();
  }

  async call(peerId, video) {
    if (this.room) { toast(t('room.busy')); return; }
    if (this.screen || this.calling) return;
    this.calling = true;
    try {
      const page = await this.connection.name();
      this.#open(await api.send('POST', ['calls'], {peer: peerId, page, video}));
    } catch (error) {
      toast(error.message, error.hint);
    } finally {
      this.calling = false;
    }
  }

  /** Offer files to a peer; who is in no call is called first, without camera, and the offer waits. */
  async send(peer, files) {
    const name = store.nameOf(peer.peer_id);
    if (this.screen && this.screen.call.peer_id !== peer.peer_id) {
      toast(t('files.busy', {name}));
      return;
    }
    if (!this.screen) {
      await this.call(peer.peer_id, false);
      if (!this.screen) return;  // it was said why
      toast(t('files.calling', {name}));
    }
    this.screen.files.add(files);
  }

  async answer(call, video) {
    this.ring.stop();
    for (const open of document.querySelectorAll('dialog[open]')) /** @type {HTMLDialogElement} */ (open).close();
    if (this.screen) await this.hangup(this.screen.call.id);
    await this.leaveRoom();
    try {
      const page = await this.connection.name();
      this.#open(await api.send('POST', ['calls', call.id, 'answer'], {page, video}));
    } catch (error) {
      toast(error.message, error.hint);
    }
    this.#showIncoming();
  }

  async decline(call, say = '') {
    this.ring.stop();
    await api.send('POST', ['calls', call.id, 'decline'], {say}).catch(error => toast(error.message));
  }

  async hangup(id) {
    await api.send('POST', ['calls', id, 'hangup']).catch(error => toast(error.message));
  }

  /** What the daemon says about media. */
  #media(message) {
    if (message.do === 'open') {
      const studio = this.room?.studio ?? this.studio;
      if (message.room && !studio) {  // left meanwhile
        this.connection.tell({media: message.media, told: 'ended', reason: 'closed', detail: ''});
        return;
      }
      const peer = new Peer(message, told => this.connection.tell(told), message.room ? studio : undefined);
      this.peers.set(message.media, peer);
      peer.addEventListener('closed', () => this.peers.delete(message.media));
      if (message.room) this.room?.attach(peer);
      else if (this.screen?.call.peer_id === message.peer) this.screen.attach(peer);
      return;
    }
    this.peers.get(message.media)?.receive(message);
  }
}

const app = new App();
window.meshcall = {peers: () => [...app.peers.values()], screen: () => app.screen, room: () => app.room};  // for who looks with the browser's tools
app.start();
