// One person of a meeting: the picture or a letter in its place, the name, and what others should know.

import {chosen} from '../call/devices.js';
import {el, icon} from '../dom.js';
import {number, t} from '../i18n.js';
import {quality} from './quality.js';

const note = (picture, text) => el('span.tile-note', {title: text}, icon(picture), el('span.hidden', {}, text));

/** A tile; who owns it lays it out. */
export class Tile {
  /** @param {{me: boolean, onscreen: () => void}} options `onscreen`: this person's screen is wanted in front */
  constructor({me, onscreen}) {
    this.me = me;
    this.peer = null;
    /** Whether it can be seen now. */
    this.seen = true;
    this.#video = /** @type {HTMLVideoElement} */ (el('video', {autoplay: true, playsinline: true}));
    this.#video.muted = me;
    this.#initial = el('div.initial', {'aria-hidden': 'true'});
    this.#state = el('p.tile-state', {});
    this.#notes = el('span.tile-notes', {});
    this.#name = el('bdi.tile-name', {});
    this.#path = el('span.tile-path', {});
    this.#screen = el('button.tile-screen', {hidden: true, onclick: onscreen}, icon('screen'), t('room.screen.show'));
    this.element = el(`li.tile${me ? '.me' : ''}`, {}, this.#initial, this.#video, this.#state, this.#screen,
      el('div.tile-foot', {}, this.#name, this.#notes, this.#path));
  }

  #video;
  #initial;
  #state;
  #notes;
  #name;
  #path;
  #screen;
  #drawn = '';

  /** Show a stream, or none. @param {MediaStream|null} stream @param {() => void} silent the browser wants a gesture first */
  show(stream, silent) {
    if (this.#video.srcObject === stream) return;
    this.#video.srcObject = stream;
    if (stream && !this.me) this.play(silent);
  }

  /** Play, on the chosen loudspeaker. @param {() => void} silent */
  async play(silent) {
    const sink = chosen('output');
    if (sink && this.#video.setSinkId) await this.#video.setSinkId(sink).catch(() => {});
    if (this.#video.srcObject)
      await this.#video.play().catch(error => { if (error.name === 'NotAllowedError') silent(); });
  }

  /**
   * @param {any} member of the API
   * @param {{name: string, speaking: boolean, speaker: boolean, waiting: boolean}} shown `waiting`: its screen could
   *   be in front, and is not
   */
  update(member, {name, speaking, speaker, waiting}) {
    const seen = this.peer?.stats;
    const state = member.me || member.state === 'here' ? '' : t(`room.member.${member.state}`);
    const how = !this.me && member.path
      ? quality({loss: seen?.recentLoss ?? 0, rtt: seen?.rtt ?? null, path: member.path}) : '';
    const picture = member.video && (this.me || member.state === 'here');
    const drawn = JSON.stringify([name, state, how, picture, member.audio, member.hand, speaking, speaker, waiting,
      member.verified, member.path]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.element.classList.toggle('speaking', speaking);
    this.element.classList.toggle('speaker', speaker);
    this.element.classList.toggle('no-picture', !picture);
    this.element.dataset.peer = member.peer_id;
    this.#video.setAttribute('aria-label', t('room.picture', {name}));
    this.#initial.textContent = (name.match(/[\p{L}\p{N}]/u)?.[0] ?? '?').toUpperCase();
    this.#state.textContent = state;
    this.#name.textContent = name;
    this.#name.title = member.me ? name : `${name} ${member.short}`;
    this.#screen.hidden = !waiting;
    this.#notes.replaceChildren(...[
      member.hand && note('hand', t('room.hand')),
      !member.audio && note('mic-off', t('peer.muted')),
      !member.video && note('camera-off', t('peer.no-camera')),
      speaking && note('voice', t('room.speaking')),
      member.screen && note('screen', t('peer.screen')),
      member.verified && note('shield', t('verified')),
    ].filter(Boolean));
    this.#path.textContent = how ? `${t(`path.${member.path}`)} · ${t(`room.quality.${how}`)}` : '';
    this.#path.className = `tile-path ${how}`;
  }

  /** The figures behind the word, for who wants them. @param {any} member */
  figures(member) {
    const seen = this.peer?.stats;
    if (!seen || !member.path) return '';
    const size = seen.height ? `${seen.width}×${seen.height}` : t('none');
    return t('room.figures', {
      rtt: seen.rtt === null ? t('unknown') : number(seen.rtt * 1000), loss: number(seen.recentLoss * 100, 1), size,
      rate: number(seen.rate),
    });
  }

  /** Take it away. */
  remove() {
    this.#video.srcObject = null;
    this.element.remove();
  }
}
