// How others come into a room: a link, its QR code, and a code to be spoken.

import * as api from '../api.js';
import {announce, dialog, el} from '../dom.js';
import {duration, t} from '../i18n.js';

const copy = text => navigator.clipboard.writeText(text).then(() => announce(t('copied')));

/** Show how to come into a room that we are in. @param {any} room of the API */
export async function inviteTo(room) {
  let picture = '';
  let timer = 0;
  await dialog(t('room.invite.title', {name: room.name}), close => {
    const problem = el('p.problem', {role: 'alert'});
    const link = el('output.mono', {id: 'room-link', dir: 'ltr', 'aria-label': t('room.invite.link')});
    const qr = /** @type {HTMLImageElement} */ (el('img.qr', {alt: t('room.invite.qr'), width: 240, height: 240, hidden: true}));
    const code = el('output.code', {id: 'room-code', dir: 'ltr', 'aria-label': t('room.code')});
    const left = el('p.hint', {});
    const failed = error => { problem.textContent = error.whole; };
    const ask = async () => {
      const {uri} = await api.send('POST', ['rooms', room.id, 'invite']);
      link.textContent = uri;
      const answer = await fetch(api.address('rooms', room.id, 'qr'), {cache: 'no-store'});
      if (!answer.ok) return;
      picture = URL.createObjectURL(await answer.blob());
      qr.src = picture;
      qr.hidden = false;
    };
    const speak = async () => {
      problem.textContent = '';
      try {
        const made = await api.send('POST', ['rooms', room.id, 'code']);
        code.textContent = made.code;
        announce(made.code);
        window.clearInterval(timer);
        const end = Date.now() + made.expires_s * 1000;
        const tick = () => {
          const seconds = (end - Date.now()) / 1000;
          left.textContent = seconds > 0 ? t('room.code.left', {time: duration(seconds)}) : t('room.code.over');
          if (seconds <= 0) { code.textContent = ''; window.clearInterval(timer); }
        };
        tick();
        timer = window.setInterval(tick, 1000);
      } catch (error) {
        failed(error);
      }
    };
    ask().catch(failed);
    return [
      el('div.own-id', {}, qr, el('div.grow', {},
        el('p.hint', {}, t(room.secret ? 'room.invite.hint.secret' : 'room.invite.hint')), link,
        el('div.buttons', {}, el('button', {onclick: () => copy(link.textContent)}, t('own.copy-link'))))),
      el('h3', {}, t('room.code')), el('p.hint', {}, t('room.code.hint')), code, left,
      problem,
      el('div.buttons', {}, el('button', {id: 'room-code-make', onclick: speak}, t('room.code.make')),
        el('button.primary', {onclick: () => close()}, t('close'))),
    ];
  });
  window.clearInterval(timer);
  URL.revokeObjectURL(picture);
}
