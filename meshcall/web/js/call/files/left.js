// What is left of a call's files when it is over: to be saved, or to be known.

import {announce, el} from '../../dom.js';
import {t} from '../../i18n.js';

/** @param {import('./row.js').Row[]} rows @param {string} name whose call it was */
export function showLeft(rows, name) {
  const title = t('files.left', {name});
  const close = () => {
    for (const row of rows) row.forget();
    element.remove();
  };
  const element = el('section.left', {'aria-label': title},
    el('h2', {}, title),
    rows.some(row => row.url) && el('p.hint', {}, t('files.left.hint')),
    el('ul.files', {}, rows.map(row => row.element)),
    el('div.buttons', {}, el('button', {onclick: close}, t('close'))));
  document.body.append(element);
  announce(title);
}
