// Contacts and who is on this LAN; adding one by ID, link, QR picture or from the LAN; sharing one's own ID.

import * as api from '../api.js';
import {picker, takeDrops} from '../call/files/drop.js';
import {announce, dialog, el, icon} from '../dom.js';
import {moment, t} from '../i18n.js';
import {store} from '../store.js';
import {readQr} from '../qr.js';
import {isRoomLink} from '../room/target.js';

/** The view. @param {{joinBy: (text: string) => any, call: (peer: any, video: boolean) => void, send: (peer: any, files: File[]) => void}} actions */
export function contactsView(actions) {
  const contacts = store.peers.filter(peer => peer.contact);
  const strangers = store.peers.filter(peer => !peer.contact);
  return el('section', {'aria-labelledby': 'contacts-title'},
    el('div.title', {},
      el('h1', {id: 'contacts-title'}, t('contacts')),
      el('button.primary', {onclick: () => addContact(actions.joinBy)}, icon('plus'), t('contact.add')),
      el('button', {onclick: shareOwn}, t('own.share'))),
    contacts.length
      ? el('ul.cards', {}, contacts.map(peer => row(peer, actions)))
      : el('p.empty', {}, t('contacts.none')),
    strangers.length > 0 && el('h2', {}, t('lan.title')),
    strangers.length > 0 && el('p.hint', {}, t('lan.hint')),
    strangers.length > 0 && el('ul.cards', {}, strangers.map(peer => row(peer, actions))));
}

function row(peer, actions) {
  const name = store.nameOf(peer.peer_id);
  const seen = peer.presence !== 'lan' && peer.presence !== 'dht' && peer.last_seen_ms
    ? t('presence.seen', {when: moment(peer.last_seen_ms)}) : '';
  const card = el('li.card', {'data-peer': peer.peer_id},
    el('span.avatar', {'aria-hidden': 'true'}, (peer.name || peer.self_name || '?').slice(0, 1).toUpperCase()),
    el('div.grow', {},
      el('strong', {}, name),
      el('span.badges', {},
        el(`span.presence.${peer.presence}`, {}, t(`presence.${peer.presence}`)),
        peer.contact && el(peer.verified ? 'span.verified' : 'span.unverified', {},
          t(peer.verified ? 'verified' : 'unverified')),
        peer.blocked && el('span.blocked', {}, t('blocked')),
        seen && el('span.hint', {}, seen))),
    peer.contact
      ? el('div.actions', {},
        el('button.round', {title: t('call.video', {name}), 'aria-label': t('call.video', {name}),
          disabled: peer.blocked, onclick: () => actions.call(peer, true)}, icon('camera')),
        el('button.round', {title: t('call.audio', {name}), 'aria-label': t('call.audio', {name}),
          disabled: peer.blocked, onclick: () => actions.call(peer, false)}, icon('phone')),
        el('button.round', {title: t('contact.more', {name}), 'aria-label': t('contact.more', {name}),
          onclick: () => moreOf(peer, actions)}, icon('more')))
      : el('div.actions', {},
        el('button', {onclick: () => addKnown(peer)}, icon('plus'), t('contact.add'))));
  if (peer.contact && !peer.blocked) takeDrops(card, files => actions.send(peer, files));
  return card;
}

async function change(work, done) {
  try {
    await work();
    await store.refreshPeers();
    announce(done);
    return true;
  } catch (error) {
    announce(error.message, true);
    return error;
  }
}

function addKnown(peer) {
  const name = peer.self_name || peer.short;
  return change(() => api.send('POST', ['contacts'], {peer: peer.peer_id, name}), t('contact.added', {name}));
}

/** Ask for an ID or a link and a name; a link to a room goes to `joinBy`. @param {(text: string) => any} joinBy @param {string} [given] */
export async function addContact(joinBy, given = '') {
  await dialog(t('contact.add'), close => {
    const problem = el('p.problem', {role: 'alert'});
    const text = el('textarea', {id: 'add-text', rows: 3, required: true, spellcheck: 'false',
      autocomplete: 'off', value: given});
    const name = el('input', {id: 'add-name', type: 'text', maxlength: 64, autocomplete: 'off'});
    const file = el('input.hidden', {id: 'add-qr', type: 'file', accept: 'image/*', onchange: async () => {
      const found = file.files.length ? await readQr(file.files[0]) : null;
      if (found) text.value = found; else problem.textContent = t('qr.none');
    }});
    const submit = async submitted => {
      submitted.preventDefault();
      const wanted = text.value.trim();
      if (isRoomLink(wanted)) {
        close();
        joinBy(wanted);
        return;
      }
      const isInvite = /[?&]i=/.test(wanted) || wanted.startsWith('meshcall:invite');
      const result = await change(
        () => (wanted.includes('#') || isInvite
          ? api.send('POST', ['invites', 'accept'], {uri: wanted})
          : api.send('POST', ['contacts'], {peer: wanted, name: name.value.trim()})),
        t('contact.added', {name: name.value.trim() || t('contact')}));
      if (result === true) close(); else problem.textContent = result.hint ? `${result.message}. ${result.hint}` : result.message;
    };
    return [el('form', {onsubmit: submit},
      el('label', {for: 'add-text'}, t('add.text')), text,
      el('label', {for: 'add-name'}, t('add.name')), name,
      el('p.hint', {}, t('add.hint')),
      problem,
      el('div.buttons', {},
        el('button', {type: 'button', onclick: () => file.click()}, t('qr.read')), file,
        el('button', {type: 'button', onclick: () => close()}, t('cancel')),
        el('button.primary', {type: 'submit'}, t('contact.add'))))];
  });
}

const copy = text => navigator.clipboard.writeText(text).then(() => announce(t('copied')));

/** Our own ID as text, link and picture; `refresh` after another name, which the link has. */
export function ownId() {
  const picture = el('img.qr', {alt: t('own.qr'), width: 240, height: 240});
  const link = el('p.mono', {id: 'own-link', dir: 'ltr'});
  const refresh = async () => {
    link.textContent = store.me.uri;
    const answer = await fetch('/api/v1/id/qr', {cache: 'no-store'});
    if (!answer.ok) return;
    URL.revokeObjectURL(picture.src);
    picture.src = URL.createObjectURL(await answer.blob());
  };
  refresh().catch(() => {});
  const element = el('div.own-id', {}, picture,
    el('div.grow', {}, el('p.mono', {id: 'own-id', dir: 'ltr'}, store.me.grouped), link,
      el('div.buttons', {},
        el('button', {type: 'button', onclick: () => copy(store.me.peer_id)}, t('own.copy')),
        el('button', {type: 'button', onclick: () => copy(store.me.uri)}, t('own.copy-link')))));
  return {element, refresh};
}

/** Show our own ID; make an invite. */
export async function shareOwn() {
  await dialog(t('own.share'), close => {
    const invite = el('output.mono', {});
    return [
      el('p.hint', {}, t('own.hint')),
      ownId().element,
      el('div.buttons', {},
        el('button', {onclick: async () => {
          const made = await api.send('POST', ['invites'], {once: true});
          invite.textContent = made.uri;
          await copy(made.uri);
        }}, t('invite.make'))),
      invite,
      el('div.buttons', {}, el('button.primary', {onclick: () => close()}, t('close'))),
    ];
  });
}

function moreOf(peer, actions) {
  const name = peer.name;
  return dialog(name, close => {
    const field = el('input', {id: 'rename', type: 'text', value: name, maxlength: 64});
    const act = (work, done) => async () => { if (await change(work, done) === true) close(); };
    const files = picker('more-picker', chosen => { close(); actions.send(peer, chosen); });
    return [
      el('p.mono', {}, peer.peer_id.match(/.{7}/g).join('-')),
      el('label', {for: 'rename'}, t('contact.name')), field,
      el('div.buttons', {},
        el('button.primary', {onclick: act(() => api.send('PATCH', ['contacts', name], {name: field.value.trim()}),
          t('contact.renamed'))}, t('contact.rename')),
        el('button', {id: 'more-files', disabled: peer.blocked, onclick: () => files.click()}, icon('file'), t('files.send')), files,
        el('button', {onclick: act(() => api.send('POST', ['contacts', name, peer.blocked ? 'unblock' : 'block']),
          t(peer.blocked ? 'contact.unblocked' : 'contact.blocked', {name}))},
        t(peer.blocked ? 'contact.unblock' : 'contact.block')),
        el('button.danger', {onclick: act(() => api.send('DELETE', ['contacts', name]), t('contact.removed', {name}))},
          t('contact.remove')),
        el('button', {onclick: () => close()}, t('close'))),
    ];
  });
}
