// The first run: a name, devices, one's own ID. The daemon remembers that it is done.

import {announce, dialog, el} from '../dom.js';
import {t} from '../i18n.js';
import {change, store} from '../store.js';
import {addContact, ownId} from './contacts.js';
import {deviceForm} from './devices.js';
import {nameField} from './settings.js';

/** Show it, and return when it is closed. @param {{joinBy: (text: string) => any}} actions */
export async function welcome({joinBy}) {
  let next = () => {};
  await dialog(t('welcome'), close => {
    const own = ownId();
    const name = nameField({prefix: 'welcome-', saved: () => own.refresh()});
    const done = after => async () => {
      if (!await name.save()) return;
      next = after;
      close();
    };
    return [
      el('p', {}, t('welcome.text')),
      el('h3', {}, t('welcome.name')), name.element,
      el('h3', {}, t('settings.devices')), deviceForm('welcome-'),
      el('h3', {}, t('own.title')), el('p.hint', {}, t('own.hint')), own.element,
      el('div.buttons', {},
        el('button', {type: 'button', onclick: done(() => addContact(joinBy))}, t('contact.add')),
        el('button.primary', {type: 'button', onclick: done(() => {})}, t('welcome.done'))),
    ];
  }, {className: 'wide'});
  if (!store.settings?.welcomed) {
    await change({welcomed: true}).catch(error => announce(error.message, true));
  }
  next();
}
