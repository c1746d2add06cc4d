// Rooms on this LAN and rooms that we know: join one, make one, invite into one.

import * as api from '../api.js';
import {announce, dialog, el, icon} from '../dom.js';
import {t} from '../i18n.js';
import {readQr} from '../qr.js';
import {inviteTo} from '../room/invite.js';
import {target} from '../room/target.js';
import {store} from '../store.js';

/** The view. @param {{join: (wanted: any) => Promise<void>, create: (wanted: any) => Promise<void>}} actions */
export function roomsView(actions) {
  const here = store.here.filter(room => !room.joined);
  return el('section', {'aria-labelledby': 'rooms-title'},
    el('div.title', {}, el('h1', {id: 'rooms-title'}, t('rooms')),
      el('button.primary', {id: 'room-create', onclick: () => createRoom(actions)}, icon('plus'), t('room.create')),
      el('button', {id: 'room-join', onclick: () => joinRoom(actions)}, t('room.join'))),
    el('h2', {}, t('rooms.here')),
    here.length ? el('ul.cards', {}, here.map(room => lanRow(room, actions))) : el('p.empty', {}, t('rooms.here.none')),
    el('h2', {}, t('rooms.known')),
    store.rooms.size ? el('ul.cards', {}, [...store.rooms.values()].map(room => row(room, actions)))
      : el('p.empty', {}, t('rooms.known.none')));
}

/** Why nobody was let in, in words for a page; the daemon's own have commands in them. */
const REASONS = {'room-code': 'code', 'room-not-found': 'not-found', 'room-silent': 'no-answer', clock: 'clock'};
const said = error => (error.code in REASONS ? t(`room.end.${REASONS[error.code]}`) : error.whole);

const badge = (shown, key) => shown && el('span', {}, t(key));

function lanRow(room, actions) {
  const name = room.name || t('room.hidden');
  return el('li.card', {'data-tag': room.tag},
    el('span.avatar', {'aria-hidden': 'true'}, icon('room')),
    el('div.grow', {}, el('strong', {}, el('bdi', {}, name)),
      el('span.badges', {}, el('span', {}, t('room.count', {count: room.members})), badge(room.locked, 'room.locked'),
        badge(room.secret, 'room.secret'), badge(room.code, 'room.code.active'))),
    el('div.actions', {}, room.name && !room.secret
      ? el('button.primary', {id: `join-${room.tag}`, 'aria-label': t(room.locked ? 'room.knock.name' : 'room.join.name', {name}),
        onclick: () => ask(actions, room.name, name)}, t(room.locked ? 'room.knock.do' : 'room.join.do'))
      : el('button', {id: `join-${room.tag}`, onclick: () => joinRoom(actions)}, t('room.join.by'))));
}

function row(room, actions) {
  const {id, name, state} = room;
  const act = (work, done) => async () => {
    try {
      await work();
      await store.refreshRooms();
      if (done) announce(done);
    } catch (error) {
      announce(error.message, true);
    }
  };
  return el('li.card', {'data-room': id},
    el('span.avatar', {'aria-hidden': 'true'}, icon('room')),
    el('div.grow', {}, el('strong', {}, el('bdi', {}, name)),
      el('span.badges', {}, el('span', {}, t(`room.state.${state}`)),
        state === 'joined' && el('span', {}, t('room.count', {count: room.members.length})), badge(room.locked, 'room.locked'),
        badge(room.secret, 'room.secret'), badge(room.mine, 'room.mine'), room.trouble && el('span.problem', {}, room.trouble))),
    el('div.actions', {},
      state === 'known'
        ? el('button.primary', {id: `enter-${id}`, 'aria-label': t('room.join.name', {name}), onclick: () => ask(actions, id, name)},
          t('room.join.do'))
        : el('button', {id: `leave-${id}`, 'aria-label': t('room.leave.name', {name}),
          onclick: act(() => api.send('POST', ['rooms', id, 'leave']))}, t('room.leave')),
      state === 'joined' && el('button.round', {id: `invite-${id}`, title: t('room.invite.title', {name}), 'aria-label': t('room.invite.title', {name}),
        onclick: () => inviteTo(room)}, icon('invite')),
      state === 'known' && el('button.round', {id: `forget-${id}`, title: t('room.forget', {name}), 'aria-label': t('room.forget', {name}),
        onclick: act(() => api.send('DELETE', ['rooms', id]), t('room.forgotten', {name}))}, icon('close'))));
}

/** Come in with or without camera. */
function ask(actions, room, name) {
  return dialog(t('room.join.name', {name}), close => {
    const problem = el('p.problem', {role: 'alert'});
    const go = video => async () => {
      try {
        await actions.join({room, video});
        close();
      } catch (error) {
        problem.textContent = said(error);
      }
    };
    return [el('p.hint', {}, t('room.join.hint')), problem, el('div.buttons', {},
      el('button.primary', {id: 'join-video', onclick: go(true)}, icon('camera'), t('room.join.video')),
      el('button.primary', {id: 'join-audio', onclick: go(false)}, icon('mic'), t('room.join.audio')),
      el('button', {onclick: () => close()}, t('cancel')))];
  });
}

function checkbox(id, key, checked = false) {
  const box = /** @type {HTMLInputElement} */ (el('input', {id, type: 'checkbox', checked, 'aria-describedby': `${id}-hint`}));
  return {box, element: el('div.check', {}, box, el('label', {for: id}, t(key)), el('p.hint', {id: `${id}-hint`}, t(`${key}.hint`)))};
}

/** A form in a dialog; what goes wrong is said in it. @param {(close: () => void) => {fields: any[], submit: () => Promise<any>, label: string, more?: any[]}} make */
function form(title, make) {
  return dialog(title, close => {
    const problem = el('p.problem', {role: 'alert'});
    const {fields, submit, label, more = []} = make(close);
    const button = /** @type {HTMLButtonElement} */ (el('button.primary', {type: 'submit'}, label));
    return [el('form', {onsubmit: async event => {
      event.preventDefault();
      for (const field of event.target.querySelectorAll('[required]')) {
        if (field.value.trim()) continue;
        field.value = '';  // spaces are nothing
        event.target.reportValidity();
        return;
      }
      button.disabled = true;
      problem.textContent = '';
      try {
        await submit();
        close();
      } catch (error) {
        problem.textContent = said(error);
      } finally {
        button.disabled = false;
      }
    }}, ...fields, problem, el('div.buttons', {}, ...more, el('button', {type: 'button', onclick: () => close()}, t('cancel')), button))];
  });
}

/** Make a room, and go in. */
export function createRoom(actions) {
  return form(t('room.create'), () => {
    const name = /** @type {HTMLInputElement} */ (el('input', {id: 'room-name', type: 'text', required: true, maxlength: 64, dir: 'auto',
      autocomplete: 'off'}));
    const secret = checkbox('room-secret', 'room.create.secret');
    const lan = checkbox('room-lan', 'room.create.lan');
    const video = checkbox('room-video', 'room.video', true);
    return {
      fields: [el('label', {for: 'room-name'}, t('room.name')), name, secret.element, lan.element, video.element],
      label: t('room.create.do'),
      submit: () => actions.create({name: name.value.trim(), secret: secret.box.checked, lan_only: lan.box.checked,
        video: video.box.checked}),
    };
  });
}

/** Join by what somebody wrote, was told or was sent. @param {string} [given] */
export function joinRoom(actions, given = '') {
  return form(t('room.join'), () => {
    const text = /** @type {HTMLTextAreaElement} */ (el('textarea', {id: 'room-text', rows: 2, required: true, spellcheck: 'false', dir: 'auto',
      autocomplete: 'off', autocapitalize: 'none', 'aria-describedby': 'room-text-hint', value: given}));
    const at = /** @type {HTMLInputElement} */ (el('input', {id: 'room-at', type: 'text', dir: 'ltr', autocomplete: 'off',
      'aria-describedby': 'room-at-hint'}));
    const video = checkbox('room-video', 'room.video', true);
    const problem = el('p.problem', {role: 'alert'});
    const file = /** @type {HTMLInputElement} */ (el('input.hidden', {id: 'room-qr', type: 'file', accept: 'image/*', onchange: async () => {
      const found = file.files.length ? await readQr(file.files[0]) : null;
      if (found) text.value = found; else problem.textContent = t('qr.none');
    }}));
    return {
      fields: [el('label', {for: 'room-text'}, t('room.text')), text, el('p.hint', {id: 'room-text-hint'}, t('room.text.hint')), problem,
        video.element,
        el('details', {}, el('summary', {}, t('room.at.title')), el('label', {for: 'room-at'}, t('room.at')), at,
          el('p.hint', {id: 'room-at-hint'}, t('room.at.hint')))],
      label: t('room.join.do'),
      more: [el('button', {type: 'button', onclick: () => file.click()}, t('qr.read')), file],
      submit: () => actions.join({room: target(text.value), at: at.value.trim(), video: video.box.checked}),
    };
  });
}
