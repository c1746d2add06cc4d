// A meeting: everybody's picture, the screen that is shared, what can be pressed, chat, people.
//
// Law 1: one studio for all members; nothing of it leaves before a member's gate is open (peer.js).
// Law 2: each member is asked for a picture as large as its tile, and for none while the tile is not seen.
// Law 3: what a room says is drawn into the tiles that are there; nothing that plays is made anew.

import * as api from '../api.js';
import {ChatPanel} from '../call/chat.js';
import * as devices from '../call/devices.js';
import {heightFor, rateFor} from '../call/layers.js';
import {chooseDevices, isShortcut, keepAwake, sayProblem, toggleFull, tool} from '../call/tool.js';
import {announce, dialog, el, icon} from '../dom.js';
import {duration, has, t} from '../i18n.js';
import {store} from '../store.js';
import {inviteTo} from './invite.js';
import {front, GAP, grid} from './layout.js';
import {Pace} from './pace.js';
import {PeoplePanel} from './people.js';
import {Tile} from './tile.js';
import {Speaker, Voice} from './voice.js';

const STATE_PAUSE = 250;  // ms between two tellings of our state
const LAYER_PAUSE = 500;  // ms between two askings of one member
const SOON = 200;  // ms in which what has come is drawn together
const HEARD = 0.03;  // audio level of a member above which it speaks, whether it says so or not
const SCREEN_SIZES = [360, 720, 1080];
const SCREEN_FPS = 15;

const time = {now: () => performance.now(), later: (work, ms) => window.setTimeout(work, ms)};

/** The screen of one meeting. */
export class RoomScreen {
  /**
   * @param {any} room of the API, or its name while it is not known yet
   * @param {import('../call/studio.js').Studio} studio
   * @param {{leave: () => void, failed: (error: any) => void}} actions
   */
  constructor(room, studio, actions) {
    this.room = {id: '', name: '', state: 'joining', members: [], knocks: [], blocked: [], locked: false, secret: false, mine: false, ...room};
    this.studio = studio;
    this.actions = actions;
    this.element = el('section.call-screen.room-screen', {role: 'region', 'aria-label': t('room.with', {name: this.room.name})});
    this.#state = new Pace(state => api.send('POST', ['rooms', this.room.id, 'state'], state), STATE_PAUSE, time);
    this.#build();
    const {signal} = this.#over;
    studio.addEventListener('stream', () => { this.#listen(); this.#draw(); }, {signal});
    studio.addEventListener('track', () => this.#tellState(), {signal});
    studio.addEventListener('problem', event =>
      sayProblem(/** @type {CustomEvent} */ (event).detail), {signal});
    if (studio.problem) sayProblem(studio.problem);
    for (const name of ['keydown', 'keyup'])
      document.addEventListener(name, event => this.#key(/** @type {KeyboardEvent} */ (event)), {signal});
    document.addEventListener('visibilitychange', () => this.#askAll(), {signal});
    signal.addEventListener('abort', () => window.clearInterval(timer));
    const timer = window.setInterval(() => this.#tick(), 1000);
    this.#sizes.observe(this.#parts.stage);
    this.#listen();
    this.#draw();
  }

  #parts = {};
  #over = new AbortController();
  #tiles = new Map();
  #links = new Set();
  #peers = new Map();
  #asks = new Map();
  #state;
  #hand = false;
  #voice = new Voice();
  #speaker = new Speaker();
  #unlisten = () => {};
  #heardTrack = null;
  #chosen = '';  // whose screen is wanted in front
  #sharers = [];
  #talking = false;
  #soon = 0;
  #since = 0;
  #lock = null;
  #knocked = new Set();
  #sizes = new ResizeObserver(() => this.#arrange());
  #views = new IntersectionObserver(entries => {
    for (const {target, isIntersecting} of entries)
      for (const tile of this.#tiles.values()) if (tile.element === target) tile.seen = isIntersecting;
    this.#askAll();
  });

  #build() {
    const p = this.#parts;
    p.title = el('h2', {}, el('bdi', {}, this.room.name));
    p.count = el('span.path', {});
    p.locked = el('span.path.locked-room', {hidden: true}, t('room.locked'));
    p.time = el('span.call-time', {});
    p.status = el('p.call-status', {role: 'status'});
    p.tiles = el('ul.tiles', {'aria-label': t('room.people'), tabindex: 0});  // it is scrolled where there are many
    p.shared = /** @type {HTMLVideoElement} */ (el('video.front', {autoplay: true, playsinline: true}));
    p.shared.muted = true;  // its sound comes with the tile
    p.caption = el('p.front-caption', {});
    p.front = el('figure.front-box', {hidden: true}, p.shared, el('figcaption', {}, p.caption));
    p.knock = el('div.room-knock', {hidden: true});
    p.silent = el('button.primary.room-silent', {hidden: true, onclick: () => this.#play()}, icon('voice'), t('room.hear'));
    p.stage = el('div.meeting', {}, p.front, p.tiles, p.knock, p.silent);
    this.chat = new ChatPanel(text => api.send('POST', ['rooms', this.room.id, 'chat'], {text}));
    p.chat = this.chat.element;
    this.people = new PeoplePanel({
      lock: on => this.#do('lock', {locked: on}),
      admit: knock => this.#answer(knock, true), refuse: knock => this.#answer(knock, false),
      remove: member => this.#confirm('remove', member), block: member => this.#confirm('block', member),
      unblock: one => this.#do('block', {peer: one.peer_id, blocked: false}),
    });
    p.people = this.people.element;
    p.mic = tool('mic', 'mic', () => this.#toggle('audio'), true);
    p.camera = tool('camera', 'camera', () => this.#toggle('video'), true);
    p.share = tool('screen', 'screen', () => this.#share(), false);
    p.handTool = tool('hand', 'hand', () => this.#raise(), false);
    p.chatTool = tool('chat', 'chat', () => this.#panel('chat'), false);
    p.peopleTool = tool('people', 'people', () => this.#panel('people'), false);
    this.element.append(
      el('header.call-head', {}, p.title, p.count, p.locked, p.time, p.status), p.stage, p.chat, p.people,
      el('div.tools', {role: 'toolbar', 'aria-label': t('room.tools')}, p.mic, p.camera, p.share, p.handTool, p.chatTool,
        p.peopleTool, tool('invite', 'invite', () => this.#invite()),
        tool('device', 'device', () => chooseDevices(this.studio)), tool('full', 'full', () => toggleFull(this.element)),
        el('button.tool.danger', {id: 'tool-leave', title: t('tool.leave'), 'aria-label': t('tool.leave'),
          onclick: () => this.actions.leave()}, icon('hangup'), el('span', {}, t('tool.leave.short')))));
  }

  // --- what is told to us ---

  /** The media of a member are there. @param {import('../call/peer.js').Peer} peer */
  attach(peer) {
    this.#links.add(peer);
    this.#choose(peer.peer);
    for (const name of ['stream', 'path']) peer.addEventListener(name, () => this.#draw());
    peer.addEventListener('gate', () => { this.#choose(peer.peer); this.#asked(peer.peer); this.#draw(); });
    peer.addEventListener('stats', () => this.#drawSoon());
    peer.addEventListener('closed', () => {
      this.#links.delete(peer);
      this.#choose(peer.peer);
      this.#draw();
    });
    this.#draw();
  }

  /** Both may have offered at once: of two connections with a member the one counts whose gate is open. */
  #choose(id) {
    const all = [...this.#links].filter(one => one.peer === id);
    const peer = all.findLast(one => one.gate) ?? all.at(-1) ?? null;
    if (peer) this.#peers.set(id, peer); else this.#peers.delete(id);
    const tile = this.#tiles.get(id);
    if (tile) tile.peer = peer;
  }

  /** The room has changed. @param {any} room of the API */
  update(room) {
    const before = this.room;
    this.room = room;
    if (room.state === 'joined' && !this.#since) {
      this.#since = Date.now();
      keepAwake().then(lock => { if (this.#over.signal.aborted) lock?.release(); else this.#lock = lock; });
      announce(t('room.joined', {name: room.name}));
    }
    if (before.state === 'joined') this.#sayChanges(before, room);
    for (const knock of room.knocks)
      if (!this.#knocked.has(knock.peer_id)) announce(t('room.knock', {name: this.#nameOf(knock)}), true);
    this.#knocked = new Set(room.knocks.map(knock => knock.peer_id));
    this.#tellState();
    this.#draw();
  }

  /** We are let in: what comes next is the room under its own ID. */
  admitted() { this.room = {...this.room, id: ''}; }

  #sayChanges(before, room) {
    const was = new Map(before.members.map(member => [member.peer_id, member]));
    const blocks = [before, room].map(one => new Map(one.blocked.map(whom => [whom.peer_id, whom])));
    for (const [id, one] of blocks[1])
      if (!blocks[0].has(id)) announce(t('contact.blocked', {name: this.#nameOf(was.get(id) ?? one)}));
    for (const [id, one] of blocks[0])
      if (!blocks[1].has(id)) announce(t('room.unblocked', {name: this.#nameOf(one)}));
    for (const member of room.members) {
      const old = was.get(member.peer_id);
      was.delete(member.peer_id);
      if (member.me) continue;
      const name = this.#nameOf(member);
      if (!old && !blocks[0].has(member.peer_id)) announce(t('room.came', {name}));
      if (!old) continue;
      if (member.hand && !old.hand) announce(t('room.hand.raised', {name}));
      else if (member.screen && !old.screen) announce(t('room.screen.of', {name}));
    }
    for (const member of was.values())
      if (!blocks[1].has(member.peer_id)) announce(t('room.left', {name: this.#nameOf(member)}));
    if (room.locked !== before.locked) announce(t(room.locked ? 'room.locked.now' : 'room.unlocked.now'));
  }

  /** A line of chat. @param {any} line */
  addLine(line) {
    const member = this.room.members.find(one => one.peer_id === line.peer_id) ?? line;
    if (this.chat.add({mine: line.sender === 'me', name: this.#nameOf(member), text: line.text, at_ms: line.at_ms}))
      this.#parts.chatTool.classList.add('news');
  }

  /** Our own name for a contact; what others call themselves is in quotes. */
  #nameOf(member) {
    if (member.me) return t('room.you', {name: member.name});
    return member.contact || store.contact(member.peer_id)?.name || `“${member.name || member.peer_id.slice(0, 7)}”`;
  }

  // --- what is shown ---

  /** Statistics of so many members come one by one. */
  #drawSoon() {
    this.#soon ||= window.setTimeout(() => { this.#soon = 0; this.#draw(); }, SOON);
  }

  #draw() {
    if (this.#over.signal.aborted) return;
    const p = this.#parts, {room} = this;
    this.element.dataset.state = room.state;
    p.title.firstChild.textContent = room.name;
    p.count.textContent = room.members.length ? t('room.count', {count: room.members.length}) : '';
    p.locked.hidden = !room.locked;
    p.status.textContent = room.state !== 'joined' && has(`room.state.${room.state}`) ? t(`room.state.${room.state}`) : '';
    const shown = this.#shown();
    this.#keepTiles(shown);
    this.#drawFront(shown);
    const talk = shown.filter(member => this.#speaks(member)).map(member => member.peer_id);
    this.#speaker.update(talk.filter(id => id !== this.#me()?.peer_id), shown.map(member => member.peer_id));
    for (const member of shown) this.#drawTile(member);
    const {wanted} = this.studio;
    p.mic.setAttribute('aria-pressed', String(wanted.audio));
    p.camera.setAttribute('aria-pressed', String(wanted.video));
    p.share.setAttribute('aria-pressed', String(Boolean(this.studio.screen)));
    p.handTool.setAttribute('aria-pressed', String(this.#hand));
    this.#drawKnock();
    this.people.update(room, shown.map(member => ({
      member: {...member, speaking: false, received: null, layer: null}, name: this.#nameOf(member),
      figures: this.#tiles.get(member.peer_id)?.figures(member) ?? '', known: Boolean(store.contact(member.peer_id)?.name),
    })), room.blocked.map(one => ({one, name: this.#nameOf(one), contact: Boolean(store.contact(one.peer_id)?.blocked)})),
    knock => this.#nameOf(knock));
    this.#arrange();
  }

  /** We first, as we see ourselves now; then the others in the order of the room. */
  #shown() {
    const {wanted} = this.studio;
    const mine = {audio: wanted.audio, video: wanted.video && Boolean(this.studio.track('video')),
      screen: Boolean(this.studio.screen), hand: this.#hand, speaking: this.#voice.speaking};
    const me = {peer_id: store.me.peer_id, short: store.me.short, name: store.status?.name || store.me.short, me: true,
      state: 'here', path: '', verified: false, ...this.#me(), ...mine};
    return [me, ...this.room.members.filter(member => !member.me)];
  }

  #me() { return this.room.members.find(member => member.me); }

  #keepTiles(shown) {
    const here = new Set(shown.map(member => member.peer_id));
    for (const [id, tile] of this.#tiles) {
      if (here.has(id)) continue;
      this.#views.unobserve(tile.element);
      tile.remove();
      this.#tiles.delete(id);
      this.#asks.get(id)?.stop();
      this.#asks.delete(id);
    }
    shown.forEach((member, index) => {
      let tile = this.#tiles.get(member.peer_id);
      if (!tile) {
        tile = new Tile({me: member.me, onscreen: () => { this.#chosen = member.peer_id; this.#draw(); }});
        tile.peer = this.#peers.get(member.peer_id) ?? null;
        this.#tiles.set(member.peer_id, tile);
        this.#views.observe(tile.element);
      }
      const place = this.#parts.tiles.children[index];
      if (place !== tile.element) this.#parts.tiles.insertBefore(tile.element, place ?? null);
    });
  }

  #drawTile(member) {
    const tile = this.#tiles.get(member.peer_id);
    const {peer} = tile;
    tile.show(member.me ? this.studio.local : peer?.gate ? peer.remote : null, () => { this.#parts.silent.hidden = false; });
    tile.update(member, {
      name: this.#nameOf(member), speaking: this.#speaks(member), speaker: this.#speaker.current === member.peer_id,
      waiting: !member.me && this.#screenOf(member.peer_id) !== null && this.#inFront() !== member.peer_id,
    });
  }

  #play() {
    this.#parts.silent.hidden = true;
    for (const tile of this.#tiles.values()) tile.play(() => {});
  }

  #speaks(member) {
    if (member.me) return this.#voice.speaking && this.studio.wanted.audio;
    return member.audio && (member.speaking || (this.#peers.get(member.peer_id)?.stats?.level ?? 0) > HEARD);
  }

  #screenOf(id) {
    const peer = this.#peers.get(id);
    return peer?.gate ? peer.remoteScreen : null;
  }

  /** Whose screen is in front: the one that was chosen, else the one that came last. */
  #inFront() { return this.#sharers.includes(this.#chosen) ? this.#chosen : this.#sharers.at(-1) ?? ''; }

  #drawFront(shown) {
    const p = this.#parts;
    const now = shown.filter(member => !member.me && member.screen && this.#screenOf(member.peer_id)).map(one => one.peer_id);
    this.#sharers = [...this.#sharers.filter(id => now.includes(id)), ...now.filter(id => !this.#sharers.includes(id))];
    const id = this.#inFront();
    const stream = id ? this.#screenOf(id) : null;
    if (p.shared.srcObject !== stream) p.shared.srcObject = stream;
    p.front.hidden = !stream;
    if (!stream) return;
    const name = this.#nameOf(shown.find(member => member.peer_id === id));
    p.caption.textContent = t('room.screen.of', {name});
    p.shared.setAttribute('aria-label', t('room.screen.of', {name}));
  }

  #drawKnock() {
    const {knock: box} = this.#parts;
    const [knock] = this.room.knocks;
    const whom = knock ? knock.peer_id : '';
    box.hidden = !knock || !this.#parts.people.hidden;  // the panel asks, too
    if (box.dataset.peer === whom) return;
    box.dataset.peer = whom;
    if (!knock) { box.replaceChildren(); return; }
    const name = this.#nameOf(knock);
    box.replaceChildren(el('p', {}, t('room.knock', {name})), el('div.buttons', {},
      el('button.primary', {id: 'knock-admit', onclick: () => this.#answer(knock, true)}, t('room.admit')),
      el('button', {id: 'knock-refuse', onclick: () => this.#answer(knock, false)}, t('room.refuse'))));
  }

  #arrange() {
    const p = this.#parts, sharing = !p.front.hidden;
    const {clientWidth: width, clientHeight: height} = p.stage;
    const count = Math.max(1, this.#tiles.size);
    if (!width || !height) return;
    const set = (element, values) => {
      for (const [name, value] of Object.entries(values)) element.style.setProperty(name, value);
    };
    if (sharing) {
      const plan = front(count, width, height);
      p.stage.dataset.plan = plan.side;
      set(p.front, {width: `${plan.front.width}px`, height: `${plan.front.height}px`});
      set(p.tiles, {width: `${plan.strip.width}px`, height: `${plan.strip.height}px`, '--columns': String(plan.columns),
        '--tile-width': `${plan.tileWidth}px`, '--tile-height': `${plan.tileHeight}px`});
      this.#frontHeight = plan.front.height;
      this.#tileHeight = plan.tileHeight;
    } else {
      const plan = grid(count, width, height);
      p.stage.dataset.plan = 'grid';
      set(p.tiles, {width: `${plan.columns * (plan.tileWidth + GAP) - GAP}px`, height: '',
        '--tile-width': `${plan.tileWidth}px`, '--tile-height': `${plan.tileHeight}px`});
      this.#frontHeight = 0;
      this.#tileHeight = plan.tileHeight;
    }
    this.#askAll();
  }

  #frontHeight = 0;
  #tileHeight = 0;

  // --- what is asked of the others ---

  #askAll() {
    for (const id of this.#peers.keys()) this.#ask(id);
  }

  /** Ask a member for pictures that fit. */
  #ask(id) {
    const tile = this.#tiles.get(id), peer = this.#peers.get(id);
    if (!tile || tile.me || !peer?.gate || this.room.state !== 'joined') return;
    let asks = this.#asks.get(id);
    if (!asks) {
      const pace = kind => new Pace(layer => api.send('POST', ['rooms', this.room.id, 'layer'], {peer: id, kind, ...layer}),
        LAYER_PAUSE, time);
      asks = {camera: pace('camera'), screen: pace('screen'), height: 0, stop() { this.camera.stop(); this.screen.stop(); }};
      this.#asks.set(id, asks);
    }
    const looks = document.visibilityState !== 'hidden';
    const pixels = looks && tile.seen ? this.#tileHeight * window.devicePixelRatio : 0;
    asks.height = heightFor(pixels, asks.height);
    asks.camera.set({height: asks.height, fps: rateFor(asks.height, this.#tiles.size)});
    const large = looks && this.#inFront() === id ? this.#frontHeight * window.devicePixelRatio : 0;
    const height = large ? SCREEN_SIZES.find(one => one * 1.1 >= large) ?? SCREEN_SIZES.at(-1) : 0;
    asks.screen.set({height, fps: height ? SCREEN_FPS : 0});
  }

  /** A new connection knows nothing of what was asked before. */
  #asked(id) {
    const asks = this.#asks.get(id);
    asks?.camera.forget();
    asks?.screen.forget();
    this.#ask(id);
  }

  // --- what we say ---

  #tellState() {
    if (this.room.state !== 'joined') return;
    const {wanted} = this.studio;
    this.#state.set({audio: wanted.audio && Boolean(this.studio.track('audio')),
      video: wanted.video && Boolean(this.studio.track('video')), screen: Boolean(this.studio.screen),
      hand: this.#hand, speaking: wanted.audio && this.#voice.speaking});
  }

  #listen() {
    const track = this.studio.track('audio');
    if (track === this.#heardTrack) return;
    this.#unlisten();
    this.#heardTrack = track;
    this.#unlisten = track ? devices.watchLevel(new MediaStream([track]), level => {
      if (!this.#voice.hear(level, performance.now())) return;
      this.#tellState();
      this.#draw();
    }) : () => {};
  }

  async #do(verb, body) {
    try {
      await api.send('POST', ['rooms', this.room.id, verb], body);
    } catch (error) {
      this.actions.failed(error);
      this.people.forget();
      this.#draw();
    }
  }

  #answer(knock, yes) { return this.#do('admit', {peer: knock.peer_id, admit: yes}); }

  /** What can't be taken back is asked about. */
  #confirm(verb, member) {
    const name = this.#nameOf(member);
    return dialog(t(`room.${verb}.name`, {name}), close => [
      el('p', {}, t(`room.${verb}.hint`, {name})),
      el('div.buttons', {}, el('button', {onclick: () => close()}, t('cancel')),
        el('button.danger', {onclick: () => { close(); this.#do(verb, {peer: member.peer_id}); }}, t(`room.${verb}`))),
    ]);
  }

  async #toggle(kind) {
    const on = !this.studio.wanted[kind];
    try {
      await this.studio.enable(kind, on);
    } catch (error) {
      sayProblem(error.name);
      return;
    }
    announce(t(`${kind}.${on ? 'on' : 'off'}`));
    this.#tellState();
  }

  async #share() {
    if (this.room.state !== 'joined') return;
    try {
      await this.studio.shareScreen(!this.studio.screen);
    } catch (error) {
      if (error.name !== 'NotAllowedError') sayProblem(error.name);
    }
  }

  #raise() {
    if (this.room.state !== 'joined') return;
    this.#hand = !this.#hand;
    announce(t(this.#hand ? 'room.hand.up' : 'room.hand.down'));
    this.#tellState();
    this.#draw();
  }

  async #invite() {
    if (this.room.state === 'joined') await inviteTo(this.room);
  }

  #panel(which) {
    if (this.room.state !== 'joined') return;
    const p = this.#parts;
    for (const name of ['chat', 'people']) {
      p[name].hidden = name === which ? !p[name].hidden : true;
      p[`${name}Tool`].setAttribute('aria-pressed', String(!p[name].hidden));
    }
    if (!p.chat.hidden) {
      p.chatTool.classList.remove('news');
      this.chat.focus();
    }
    this.#draw();
    if (which === 'people' && !p.people.hidden) p.people.querySelector('input').focus();
  }

  #key(event) {
    if (!isShortcut(event)) return;
    if (event.code === 'Space' && event.target.tagName !== 'BUTTON') {
      event.preventDefault();
      const down = event.type === 'keydown';
      if (event.repeat || (down && this.studio.wanted.audio) || (!down && !this.#talking)) return;
      this.#talking = down;
      this.#toggle('audio');
    } else if (event.type === 'keydown' && !event.repeat) {
      const action = {m: () => this.#toggle('audio'), v: () => this.#toggle('video'), s: () => this.#share(),
        h: () => this.#raise(), c: () => this.#panel('chat'), p: () => this.#panel('people'), i: () => this.#invite(),
        f: () => toggleFull(this.element)}[event.key];
      if (action) { event.preventDefault(); action(); }
    }
  }

  #tick() {
    if (this.#since) this.#parts.time.textContent = duration((Date.now() - this.#since) / 1000);
  }

  /** End the connections. Idempotent. */
  hangUp() { for (const peer of this.#links) peer.close(); }

  /**
   * Take the screen away, and turn the devices off.
   * @param {boolean} [hangs] false: the connections stay until `hangUp`, for the daemon to say goodbye on them
   */
  close(hangs = true) {
    this.#over.abort();
    this.#unlisten();
    this.#sizes.disconnect();
    this.#views.disconnect();
    this.#state.stop();
    for (const asks of this.#asks.values()) asks.stop();
    this.#lock?.release();
    if (hangs) this.hangUp();
    this.studio.close();
    if (document.fullscreenElement) document.exitFullscreen();
    this.element.remove();
  }
}
