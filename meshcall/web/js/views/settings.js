// What people set: of the daemon (name, who sees them, who rings), of this browser (devices, language, login).

import * as api from '../api.js';
import {announce, el} from '../dom.js';
import {choose, current, languages, t} from '../i18n.js';
import {change, store} from '../store.js';
import {deviceForm} from './devices.js';

const NAME_MAX = 64;  // octets of UTF-8, as the daemon has it

let shows = [];

/** Show what holds now in the view that is shown, except where somebody types. */
export function syncSettings() {
  for (const show of shows) show();
}

/** The view. @param {{redraw: () => void, welcome: () => void}} actions */
export function settingsView({redraw, welcome}) {
  shows = [];
  const name = nameField();
  return el('section', {'aria-labelledby': 'settings-title'},
    el('div.title', {}, el('h1', {id: 'settings-title'}, t('settings')),
      el('button', {onclick: welcome}, t('settings.welcome'))),
    el('h2', {}, t('settings.you')),
    el('form', {onsubmit: event => { event.preventDefault(); name.save(); }}, name.element,
      el('div.buttons', {}, el('button.primary', {type: 'submit', disabled: isFixed('name')}, t('settings.save')))),
    el('h2', {}, t('settings.devices')), deviceForm(),
    el('h2', {}, t('settings.who')),
    ['visible', 'accept_strangers'].map(field => checkbox(field)), autoAnswer(),
    el('h2', {}, t('settings.notifications.title')), checkbox('notifications'),
    el('button', {onclick: askForNotifications}, t('settings.notify')),
    el('h2', {}, t('settings.language')),
    el('label', {for: 'language'}, t('settings.language')),
    el('select', {id: 'language', onchange: async event => { await choose(event.target.value); redraw(); }},
      Object.entries(languages).map(([code, label]) =>
        el('option', {value: code, lang: code, selected: code === current()}, label))),
    el('h2', {}, t('settings.daemon')),
    el('dl.facts', {},
      el('dt', {}, t('settings.version')), el('dd', {}, store.status?.version ?? ''),
      el('dt', {}, t('settings.port')), el('dd', {}, String(store.status?.port ?? ''))),
    el('h2', {}, t('settings.session')),
    el('button.danger', {onclick: async () => { await api.logOut(); location.reload(); }}, t('settings.logout')));
}

const isFixed = field => store.settings?.origins[field] === 'option';

/**
 * A field for one's own name. `prefix`: of IDs, where another one may be open; `saved`: called when another name
 * is kept.
 */
export function nameField({prefix = '', saved = () => {}} = {}) {
  const id = `${prefix}own-name`;
  const problem = el('p.problem', {id: `${id}-problem`, role: 'alert'});
  const input = /** @type {HTMLInputElement} */ (el('input', {id, type: 'text', maxlength: NAME_MAX,
    autocomplete: 'nickname', dir: 'auto', disabled: isFixed('name'), value: store.settings?.name ?? '',
    'aria-describedby': `${id}-hint ${id}-problem`, onchange: () => save()}));
  if (!prefix) shows.push(() => { if (input !== document.activeElement) input.value = store.settings.name; });
  /** Keep it; whether that is done. */
  const save = async () => {
    const name = input.value.trim();
    if (isFixed('name') || name === store.settings?.name) return true;
    problem.textContent = new TextEncoder().encode(name).length > NAME_MAX ? t('settings.name.long') : '';
    if (problem.textContent) return false;
    try {
      await change({name});
    } catch (error) {
      problem.textContent = error.message;
      return false;
    }
    announce(t('settings.saved'));
    saved();
    return true;
  };
  const element = el('div', {}, el('label', {for: id}, t('settings.name')), input,
    el('p.hint', {id: `${id}-hint`}, t(isFixed('name') ? 'settings.fixed' : 'settings.name.hint')), problem);
  return {element, save};
}

/** Set one, and say so; back to what holds if that can't be done. */
async function set(field, value, restore) {
  try {
    await change({[field]: value});
    announce(t('settings.saved'));
  } catch (error) {
    restore();
    announce(error.message, true);
  }
}

function checkbox(field) {
  const id = `set-${field}`;
  const box = /** @type {HTMLInputElement} */ (el('input', {id, type: 'checkbox', disabled: isFixed(field),
    checked: store.settings?.[field] ?? false, 'aria-describedby': `${id}-hint`,
    onchange: () => set(field, box.checked, () => { box.checked = store.settings[field]; })}));
  shows.push(() => { box.checked = store.settings[field]; });
  return el('div.check', {}, box, el('label', {for: id}, t(`settings.${field}`)),
    el('p.hint', {id: `${id}-hint`}, t(isFixed(field) ? 'settings.fixed' : `settings.${field}.hint`)));
}

function autoAnswer() {
  const id = 'set-auto_answer';
  const show = () => { select.value = store.settings.auto_answer; };
  const select = /** @type {HTMLSelectElement} */ (el('select', {id, disabled: isFixed('auto_answer'),
    'aria-describedby': `${id}-hint`, onchange: () => set('auto_answer', select.value, show)},
  ['off', 'contacts', 'anyone'].map(value =>
    el('option', {value, selected: value === store.settings?.auto_answer}, t(`settings.auto.${value}`)))));
  shows.push(show);
  return el('div', {}, el('label', {for: id}, t('settings.auto')), select,
    el('p.hint', {id: `${id}-hint`}, t(isFixed('auto_answer') ? 'settings.fixed' : 'settings.auto.hint')));
}

async function askForNotifications() {
  const answer = await Notification.requestPermission();
  announce(t(answer === 'granted' ? 'settings.notify-on' : 'settings.notify-off'));
}
