// One transfer as it is seen: name, size, what becomes of it, progress, and what can be done.

import {el, icon} from '../../dom.js';
import {size, t} from '../../i18n.js';

/** What becomes of a transfer, in words. @param {any} view @param {string} name whose it is */
export function words({way, state, reason}, name) {
  return state === 'ended' ? t(`files.end.${reason}`, {name}) : t(`files.${way}.${state}`, {name});
}

/** A row of a list. Its elements stay, so that the focus does. */
export class Row {
  /** @param {any} view @param {string} peer its name @param {{accept: () => void, stop: () => void}} actions */
  constructor(view, peer, actions) {
    this.view = view;
    this.peer = peer;
    this.url = '';
    this.saved = false;
    const p = this.#parts;
    const label = {file: view.name};
    p.state = el('span.hint', {});
    p.bar = el('progress', {max: Math.max(1, view.octets), 'aria-label': t('files.progress', label)});
    p.accept = el('button.primary', {id: `accept-${view.key}`, 'aria-label': t('files.accept.name', label), onclick: actions.accept},
      t('files.accept'));
    p.stop = el('button', {id: `stop-${view.key}`, onclick: actions.stop});
    p.save = el('a.button.primary', {id: `save-${view.key}`, hidden: true, download: view.name, 'aria-label': t('files.save.name', label),
      onclick: () => { this.saved = true; }}, t('files.save'));
    this.element = el('li.file', {'data-key': view.key},
      el('div.file-head', {}, icon('file'), el('bdi.grow', {}, view.name), el('span.hint', {}, size(view.octets))),
      p.bar, p.state, el('div.buttons', {}, p.accept, p.stop, p.save));
    this.update(view);
  }

  #parts = {};

  /** @param {any} view with `file`, a Blob, when one has come */
  update(view) {
    this.view = view;
    const p = this.#parts;
    const asked = view.way === 'in' && view.state === 'offered';
    p.state.textContent = words(view, this.peer);
    p.bar.hidden = !['running', 'checking'].includes(view.state);
    p.bar.value = view.moved;
    p.accept.hidden = !asked;
    p.stop.hidden = view.over;
    p.stop.textContent = t(asked ? 'files.decline' : 'cancel');
    p.stop.setAttribute('aria-label', t(asked ? 'files.decline.name' : 'files.cancel.name', {file: view.name}));
    this.element.dataset.state = view.state;
    if (view.file && !this.url) {
      this.url = URL.createObjectURL(view.file);
      p.save.href = this.url;
      p.save.hidden = false;
    }
  }

  /** The file can't be saved any more. */
  forget() {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = '';
  }
}
