// The call: pictures that fit the window, what can be pressed, chat, files, statistics, verification.

import * as api from '../api.js';
import {announce, dialog, el, icon} from '../dom.js';
import {duration, has, number, t} from '../i18n.js';
import {store} from '../store.js';
import {ChatPanel} from './chat.js';
import * as devices from './devices.js';
import {FilePanel} from './files/panel.js';
import {chooseDevices, isShortcut, keepAwake, sayProblem, toggleFull, tool} from './tool.js';

/** The screen of one call. */
export class CallScreen {
  /** @param {any} call a call of the API @param {{hangup: () => void}} actions */
  constructor(call, actions) {
    this.call = call;
    this.actions = actions;
    this.peer = null;
    this.since = 0;
    this.element = el('section.call-screen', {role: 'region', 'aria-label': t('call.with', {name: this.#name()})});
    this.#build();
    this.#timer = window.setInterval(() => this.#tick(), 1000);
    this.#keys = event => this.#key(event);
    document.addEventListener('keydown', this.#keys);
    document.addEventListener('keyup', this.#keys);
  }

  #timer;
  #keys;
  #parts = {};
  #talking = false;
  #lock = null;

  #name() { return store.nameOf(this.call.peer_id, this.call.self_name); }

  #build() {
    const p = this.#parts;
    p.remote = el('video.remote', {autoplay: true, playsinline: true, 'aria-label': t('call.their-picture')});
    p.screen = el('video.shared', {autoplay: true, playsinline: true, hidden: true, 'aria-label': t('call.their-screen')});
    p.local = el('video.local', {hidden: true, autoplay: true, playsinline: true, 'aria-label': t('call.own-picture')});
    p.local.muted = true;
    p.status = el('p.call-status', {role: 'status'});
    p.time = el('span.call-time', {});
    p.path = el('span.path', {});
    p.peerMedia = el('p.peer-media', {role: 'status'});
    p.placeholder = el('div.placeholder', {'aria-hidden': 'true'}, this.#name().replace(/^“/, '').slice(0, 1).toUpperCase());
    this.chat = new ChatPanel(text => api.send('POST', ['calls', this.call.id, 'chat'], {text}));
    p.chat = this.chat.element;
    this.files = new FilePanel(this.element, this.#name(), () => { if (p.files.hidden) this.#panel('files'); });
    p.files = this.files.element;
    p.stats = el('aside.panel', {hidden: true, 'aria-label': t('stats')});
    p.mic = tool('mic', 'mic', () => this.#toggle('audio'), true);
    p.camera = tool('camera', 'camera', () => this.#toggle('video'), true);
    p.share = tool('screen', 'screen', () => this.#share(), false);
    p.chatTool = tool('chat', 'chat', () => this.#panel('chat'), false);
    p.filesTool = tool('files', 'file', () => this.#panel('files'), false);
    p.statsTool = tool('stats', 'stats', () => this.#panel('stats'), false);
    this.element.append(
      el('header.call-head', {}, el('h2', {}, this.#name()), p.path, p.time, p.status),
      el('div.stage', {}, p.placeholder, p.remote, p.screen, p.local, p.peerMedia,
        this.files.question, el('p.drop-hint', {'aria-hidden': 'true'}, t('files.drop', {name: this.#name()}))),
      p.chat, p.files, p.stats,
      el('div.tools', {role: 'toolbar', 'aria-label': t('tools')},
        p.mic, p.camera, p.share, p.chatTool, p.filesTool,
        tool('verify', 'shield', () => this.#verify()),
        tool('device', 'device', () => { if (this.peer) chooseDevices(this.peer.studio); }),
        p.statsTool,
        tool('pip', 'pip', () => this.#pip()),
        tool('full', 'full', () => toggleFull(this.element)),
        el('button.tool.danger', {id: 'tool-hangup', title: t('tool.hangup'), 'aria-label': t('tool.hangup'),
          onclick: () => this.actions.hangup()}, icon('hangup'), el('span', {}, t('tool.hangup.short')))));
    this.update(this.call);
  }

  /** The media are there. @param {import('./peer.js').Peer} peer */
  attach(peer) {
    this.peer = peer;
    const draw = () => this.#draw();
    peer.addEventListener('stream', draw);
    peer.addEventListener('gate', draw);
    peer.studio.addEventListener('track', () => this.tellMedia());
    peer.addEventListener('path', draw);
    peer.addEventListener('stats', () => this.#drawStats());
    this.files.attach(peer);
    peer.addEventListener('problem', event => sayProblem(/** @type {CustomEvent} */ (event).detail));
    this.#draw();
  }

  /** The call is in another state. @param {any} call */
  update(call) {
    this.call = {...this.call, ...call};
    const {state} = this.call;
    if (state === 'connected' && !this.since) {
      this.since = Date.now();
      keepAwake().then(lock => { this.#lock = lock; });
    }
    this.#parts.status.textContent = has(`state.${state}`) && state !== 'connected' ? t(`state.${state}`) : '';
    this.element.dataset.state = state;
    this.#draw();
  }

  /** A line of chat came or went. @param {{text: string, sender: string, at_ms: number}} line */
  addLine(line) {
    if (this.chat.add({mine: line.sender === 'me', name: this.#name(), text: line.text, at_ms: line.at_ms}))
      this.#parts.chatTool.classList.add('news');
  }

  /** What the peer says of its microphone, camera and screen. */
  setPeerMedia({audio, video, screen}) {
    const words = [!audio && t('peer.muted'), !video && t('peer.no-camera'), screen && t('peer.screen')].filter(Boolean);
    this.#parts.peerMedia.textContent = words.length ? `${this.#name()}: ${words.join(', ')}` : '';
    this.element.dataset.peerVideo = String(video);
    this.peerScreen = screen;
    this.#draw();
  }

  #draw() {
    const p = this.#parts, peer = this.peer;
    if (!peer) return;
    const show = (video, stream) => { if (video.srcObject !== stream) video.srcObject = stream; };
    show(p.local, peer.studio.local);
    show(p.remote, peer.gate ? peer.remote : null);
    const screen = peer.gate && this.peerScreen !== false ? peer.remoteScreen : null;
    show(p.screen, screen);
    p.screen.hidden = !screen;
    this.element.classList.toggle('sharing', Boolean(screen));
    p.local.hidden = !peer.studio.track('video');
    p.mic.setAttribute('aria-pressed', String(peer.studio.wanted.audio));
    p.camera.setAttribute('aria-pressed', String(peer.studio.wanted.video));
    p.share.setAttribute('aria-pressed', String(Boolean(peer.studio.screen)));
    const path = this.call.path;
    p.path.textContent = path ? t(`path.${path}`) : '';
    p.path.className = `path ${path}`;
    const sink = devices.chosen('output');
    if (sink && p.remote.setSinkId) p.remote.setSinkId(sink).catch(() => {});
  }

  #tick() {
    if (this.since) this.#parts.time.textContent = duration((Date.now() - this.since) / 1000);
  }

  #drawStats() {
    const stats = this.peer.stats, panel = this.#parts.stats;
    if (panel.hidden || !stats) return;
    const size = (width, height, rate) => (width ? `${width}×${height}, ${number(rate)} fps` : t('none'));
    const rows = [
      ['stats.path', this.call.path ? t(`path.${this.call.path}`) : t('none')],
      ['stats.rtt', stats.rtt === null ? t('unknown') : `${number(stats.rtt * 1000)} ms`],
      ['stats.loss', `${number(stats.loss * 100, 1)} %`],
      ['stats.received', size(stats.width, stats.height, stats.rate)],
      ['stats.sent', size(stats.sentWidth, stats.sentHeight, stats.sentRate)],
      ['stats.available', stats.available ? `${number(stats.available / 1e6, 1)} Mbit/s` : t('unknown')],
    ];
    panel.replaceChildren(el('h3', {}, t('stats')),
      el('dl.facts', {}, rows.flatMap(([key, value]) => [el('dt', {}, t(key)), el('dd', {}, value)])),
      el('h3', {}, t('timeline')),
      el('ol.timeline', {}, Object.entries(this.call.timeline ?? {}).map(([step, ms]) =>
        el('li', {}, `${step.replaceAll('-', ' ')}: ${number(ms)} ms`))));
  }

  async #toggle(kind) {
    if (!this.peer) return;
    const on = !this.peer.studio.wanted[kind];
    try {
      await this.peer.studio.enable(kind, on);
    } catch (error) {
      sayProblem(error.name);
      return;
    }
    announce(t(`${kind}.${on ? 'on' : 'off'}`));
    await this.tellMedia();
  }

  /** Tell the peer what of ours is on. */
  async tellMedia() {
    if (this.call.state !== 'connected' || !this.peer) return;
    const {studio} = this.peer;
    const camera = studio.wanted.video && Boolean(studio.track('video'));
    await api.send('POST', ['calls', this.call.id, 'media'],
      {audio: studio.wanted.audio, video: camera, screen: Boolean(studio.screen)})
      .catch(() => {});
  }

  async #share() {
    if (!this.peer) return;
    try {
      await this.peer.studio.shareScreen(!this.peer.studio.screen);
    } catch (error) {
      if (error.name !== 'NotAllowedError') sayProblem(error.name);
    }
  }

  #panel(which) {
    const p = this.#parts;
    for (const name of ['chat', 'files', 'stats']) {
      p[name].hidden = name === which ? !p[name].hidden : true;
      p[`${name}Tool`].setAttribute('aria-pressed', String(!p[name].hidden));
    }
    if (!p.chat.hidden) {
      p.chatTool.classList.remove('news');
      this.chat.focus();
    }
    if (which === 'files' && !p.files.hidden) p.files.querySelector('button').focus();
    this.#drawStats();
  }

  async #verify() {
    let words;
    try {
      words = await api.get('calls', this.call.id, 'verification');
    } catch (error) {
      announce(error.message, true);
      return;
    }
    await dialog(t('verify.title', {name: this.#name()}), close => [
      el('p', {}, t('verify.how', {name: this.#name()})),
      el('ol.emoji', {}, words.emoji.map(one => el('li', {},
        el('span.symbol', {'aria-hidden': 'true'}, one.symbol), el('span', {}, t(`word.${one.word}`))))),
      el('p.digits', {}, words.digits),
      el('div.buttons', {},
        el('button', {onclick: () => close()}, t('verify.different')),
        el('button.primary', {onclick: async () => {
          await api.send('POST', ['calls', this.call.id, 'verified']);
          announce(t('verify.done', {name: this.#name()}));
          await store.refreshPeers();
          close();
        }}, t('verify.same'))),
    ]);
  }

  async #pip() {
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await this.#parts.remote.requestPictureInPicture();
    } catch {
      announce(t('pip.none'), true);
    }
  }

  #key(event) {
    if (!isShortcut(event)) return;
    if (event.code === 'Space' && event.target.tagName !== 'BUTTON') {
      event.preventDefault();
      const down = event.type === 'keydown';
      if (event.repeat || !this.peer || (down && this.peer.studio.wanted.audio) || (!down && !this.#talking)) return;
      this.#talking = down;
      this.#toggle('audio');
    } else if (event.type === 'keydown' && !event.repeat) {
      const action = {m: () => this.#toggle('audio'), v: () => this.#toggle('video'), s: () => this.#share(),
        c: () => this.#panel('chat'), a: () => this.#panel('files'), i: () => this.#panel('stats'), f: () => toggleFull(this.element)}[event.key];
      if (action) { event.preventDefault(); action(); }
    }
  }

  /** Take the screen away. */
  close() {
    window.clearInterval(this.#timer);
    document.removeEventListener('keydown', this.#keys);
    document.removeEventListener('keyup', this.#keys);
    this.#lock?.release();
    this.files.close();
    if (document.fullscreenElement) document.exitFullscreen();
    this.element.remove();
  }
}
