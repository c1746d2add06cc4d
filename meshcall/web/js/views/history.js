// Calls of the past, the missed ones marked; and calls of people who are no contacts, apart.

import * as api from '../api.js';
import {announce, el, icon} from '../dom.js';
import {duration, has, moment, t} from '../i18n.js';
import {store} from '../store.js';

/** The view. @param {{call: (peer: any, video: boolean) => void}} actions */
export function historyView(actions) {
  const calls = store.history.filter(call => !call.stranger);
  const unseen = store.history.filter(call => call.missed && !call.seen).map(call => call.id);
  if (unseen.length) see(unseen);
  return el('section', {'aria-labelledby': 'history-title'},
    el('div.title', {}, el('h1', {id: 'history-title'}, t('history'))),
    calls.length ? el('ul.cards', {}, calls.map(call => row(call, actions))) : el('p.empty', {}, t('history.none')));
}

async function see(calls) {
  await api.send('POST', ['history', 'seen'], {calls});
  if (store.status) store.status.missed = 0;
}

function row(call, actions) {
  const name = store.nameOf(call.peer_id);
  const how = call.missed ? 'history.missed' : call.direction === 'out' ? 'history.out' : 'history.in';
  const length = call.connected_ms && call.ended_ms ? duration((call.ended_ms - call.connected_ms) / 1000) : '';
  const reason = !call.connected_ms && has(`end.${call.reason}`) ? t(`end.${call.reason}`, {name}) : '';
  const peer = store.contact(call.peer_id);
  return el(`li.card${call.missed ? '.missed' : ''}`, {},
    icon(call.direction === 'out' ? 'phone' : 'inbox'),
    el('div.grow', {},
      el('strong', {}, name),
      el('span.badges', {},
        el('span', {}, t(how)), el('time', {datetime: new Date(call.started_ms).toISOString()}, moment(call.started_ms)),
        length && el('span', {}, length), reason && el('span.hint', {}, reason),
        call.path && el('span', {}, t(`path.${call.path}`)))),
    peer?.contact && el('div.actions', {},
      el('button.round', {'aria-label': t('call.video', {name}), title: t('call.video', {name}),
        onclick: () => actions.call(peer, true)}, icon('camera'))));
}

/** People who called and are no contacts: nothing of theirs rings loud. */
export function requestsView(actions) {
  const ringing = store.live().filter(call => call.stranger && call.state === 'incoming');
  const past = store.history.filter(call => call.stranger);
  return el('section', {'aria-labelledby': 'requests-title'},
    el('div.title', {}, el('h1', {id: 'requests-title'}, t('requests'))),
    el('p.hint', {}, t('requests.hint')),
    ringing.length + past.length === 0 && el('p.empty', {}, t('requests.none')),
    el('ul.cards', {}, ringing.map(call => el('li.card.ringing', {},
      el('div.grow', {}, el('strong', {}, store.nameOf(call.peer_id, call.self_name)),
        el('p.mono.hint', {}, call.peer_id)),
      el('div.actions', {},
        el('button.primary', {onclick: () => actions.answer(call, true)}, t('answer.video')),
        el('button', {onclick: () => actions.answer(call, false)}, t('answer.audio')),
        el('button.danger', {onclick: () => actions.decline(call)}, t('decline'))))),
    past.map(call => el('li.card', {},
      el('div.grow', {}, el('strong', {}, store.nameOf(call.peer_id)),
        el('p.mono.hint', {}, call.peer_id),
        el('span.badges', {}, el('time', {datetime: new Date(call.started_ms).toISOString()}, moment(call.started_ms)))),
      el('div.actions', {},
        el('button', {onclick: async () => {
          await api.send('POST', ['contacts'], {peer: call.peer_id, name: call.peer_id.slice(0, 7)});
          await store.refresh();
          announce(t('contact.added', {name: call.peer_id.slice(0, 7)}));
        }}, icon('plus'), t('contact.add')))))));
}
