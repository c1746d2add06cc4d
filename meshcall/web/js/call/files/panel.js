// Files of a call on its screen: the list, the question whether to take one, and what is left when the call ends.

import {announce, el, icon} from '../../dom.js';
import {size, t} from '../../i18n.js';
import {picker, takeDrops} from './drop.js';
import {showLeft} from './left.js';
import {Row, words} from './row.js';

const QUARTER = 25;  // per cent between what is said of progress
const PAUSE = 10_000;  // ms between it, at least

/** The files of one call. */
export class FilePanel {
  /** @param {HTMLElement} target what files are dropped on @param {string} name the peer's @param {() => void} reveal */
  constructor(target, name, reveal) {
    this.name = name;
    this.#reveal = reveal;
    this.#list = el('ul.files', {'aria-label': t('files')});
    this.#picker = picker('file-picker', files => this.add(files));
    this.question = el('div.file-question', {role: 'group', 'aria-label': t('files.question', {name}), hidden: true});
    this.element = el('aside.panel', {hidden: true, 'aria-label': t('files')},
      el('h3', {}, t('files')), el('p.hint', {}, t('files.hint', {name})),
      el('div.buttons', {}, el('button', {id: 'files-choose', onclick: () => this.#picker.click()}, icon('plus'), t('files.choose')), this.#picker),
      this.#list);
    takeDrops(target, files => this.add(files));
  }

  #reveal;
  #list;
  #picker;
  #files = null;
  #waiting = [];
  #count = 0;
  #rows = new Map();
  #said = new Map();
  #asked = '';

  /** Offer files, or have them wait until the call stands. @param {File[]} files */
  add(files) {
    this.#reveal();
    if (this.#files) {
      this.#files.add(files);
      return;
    }
    for (const file of files) {
      const key = `early-${++this.#count}`;
      this.#waiting.push({key, file});
      this.show({key, way: 'out', name: file.name, octets: file.size, moved: 0, state: 'waiting', reason: '', over: false});
    }
  }

  /** The call has media, or other media. @param {import('../peer.js').Peer} peer */
  attach(peer) {
    peer.files.addEventListener('transfer', event => this.show(event.detail));
    const stands = () => {
      this.#files = peer.files;
      const early = this.#waiting.splice(0);
      for (const {key} of early) this.#remove(key);
      if (early.length) this.#files.add(early.map(one => one.file));
    };
    if (peer.gate) stands(); else peer.addEventListener('gate', stands);
  }

  /** A transfer is new, or changed. @param {any} view */
  show(view) {
    const row = this.#rows.get(view.key);
    const before = row?.view.state;
    if (row) {
      const focused = document.activeElement;
      row.update(view);
      if (focused?.hidden && row.element.contains(focused)) this.element.querySelector('button').focus();
    } else {
      const made = new Row(view, this.name, {accept: () => this.#accept(view.key), stop: () => this.#stop(view.key)});
      this.#rows.set(view.key, made);
      this.#list.append(made.element);
    }
    if (view.state !== before) this.#changed(view); else this.#sayProgress(view);
  }

  #accept(key) {
    this.#reveal();
    this.#files?.accept(key);
    document.getElementById(`stop-${key}`)?.focus();  // what was pressed is gone
  }

  #stop(key) {
    const at = this.#waiting.findIndex(one => one.key === key);
    if (at >= 0) {
      this.#waiting.splice(at, 1);
      this.#remove(key);
    } else {
      this.#files?.stop(key);
    }
  }

  #remove(key) {
    this.#rows.get(key)?.element.remove();
    this.#rows.delete(key);
  }

  #changed(view) {
    const {key, way, name, octets, state} = view;
    if (way === 'in' && state === 'offered') {
      this.#ask(key, name, octets);
      return;
    }
    if (this.#asked === key) this.#unask();
    if (state === 'checking') return;
    const ended = state === 'ended' && !['declined', 'cancelled'].includes(view.reason);
    announce(t('files.said', {file: name, what: words(view, this.name)}), ended);
  }

  /** Whoever looks at pictures or chat sees the question, too. */
  #ask(key, file, octets) {
    this.#asked = key;
    const text = t('files.offer', {name: this.name, file, size: size(octets)});
    this.question.replaceChildren(
      el('p', {}, icon('file'), el('span', {}, t('files.offer.before', {name: this.name}), ' ', el('bdi', {}, file), ` (${size(octets)})`)),
      el('div.buttons', {},
        el('button.primary', {id: 'file-accept', 'aria-label': t('files.accept.name', {file}), onclick: () => this.#accept(key)},
          t('files.accept')),
        el('button', {id: 'file-decline', 'aria-label': t('files.decline.name', {file}), onclick: () => this.#stop(key)},
          t('files.decline'))));
    this.question.hidden = false;
    announce(text, true);
  }

  #unask() {
    this.#asked = '';
    if (this.question.contains(document.activeElement)) document.getElementById('tool-files')?.focus();
    this.question.hidden = true;
    this.question.replaceChildren();
  }

  /** Progress for who does not look: seldom, for who listens hears the call, too. */
  #sayProgress({key, name, octets, moved, state}) {
    if (state !== 'running' || !octets) return;
    const now = performance.now();
    const said = this.#said.get(key) ?? {part: 0, at: now};
    this.#said.set(key, said);
    const part = Math.floor((moved / octets) * 100 / QUARTER);
    if (part <= said.part || now - said.at < PAUSE) return;
    this.#said.set(key, {part, at: now});
    announce(t('files.percent', {file: name, percent: part * QUARTER}));
  }

  /** The call is over: what came and was not saved stays, and what was broken off is said. */
  close() {
    this.#files?.close();
    for (const {key} of this.#waiting.splice(0))
      this.show({...this.#rows.get(key).view, state: 'ended', reason: 'no-call', over: true});
    const rows = [...this.#rows.values()];
    for (const row of rows.filter(one => one.saved)) row.forget();
    const left = rows.filter(row => (row.url && !row.saved) || ['call-ended', 'no-call'].includes(row.view.reason));
    if (left.length) showLeft(left, this.name);
  }
}
