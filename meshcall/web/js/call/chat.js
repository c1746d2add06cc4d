// The lines of a call or a meeting, and the field to write one.

import {announce, el, icon} from '../dom.js';
import {moment, t} from '../i18n.js';

/** A panel; it is hidden until somebody opens it. */
export class ChatPanel {
  /** @param {(text: string) => Promise<any>} send */
  constructor(send) {
    this.#lines = el('ol.lines', {'aria-live': 'polite', 'aria-label': t('chat')});
    this.#field = el('input', {type: 'text', maxlength: 4000, autocomplete: 'off', 'aria-label': t('chat.write'),
      placeholder: t('chat.write')});
    const problem = el('p.problem', {role: 'alert'});
    this.element = el('aside.panel', {hidden: true, 'aria-label': t('chat')}, this.#lines, problem,
      el('form.chat-form', {onsubmit: async event => {
        event.preventDefault();
        const text = this.#field.value.trim();
        if (!text) return;
        try {
          await send(text);
          this.#field.value = '';
          problem.textContent = '';
        } catch (error) {
          problem.textContent = error.message;
        }
      }}, this.#field, el('button', {type: 'submit', 'aria-label': t('chat.send')}, icon('send'))));
  }

  #lines;
  #field;

  /** A line came or went; whether it is news: it is another's, and nobody sees it. */
  add({mine, name, text, at_ms}) {
    const line = el(`li${mine ? '.mine' : ''}`, {'data-at': at_ms},
      el('span.hint', {}, mine ? t('me') : el('bdi', {}, name), `, ${moment(at_ms)}`), el('p', {dir: 'auto'}, text));
    // What was missed in a room that was split comes after what was said later
    const later = [...this.#lines.children].find(one => Number(/** @type {HTMLElement} */ (one).dataset.at) > at_ms);
    this.#lines.insertBefore(line, later ?? null);
    line.scrollIntoView({block: 'nearest'});
    if (mine || !this.element.hidden) return false;
    announce(t('chat.from', {name, text}));
    return true;
  }

  focus() { this.#field.focus(); }
}
