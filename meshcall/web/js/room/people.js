// The panel of who is in a meeting: what is known of each, what can be done, who knocks, and the lock.

import {el, icon} from '../dom.js';
import {t} from '../i18n.js';

/** A panel; it is hidden until somebody opens it. */
export class PeoplePanel {
  /**
   * @param {{lock: (on: boolean) => void, remove: (member: any) => void, block: (member: any) => void,
   *   admit: (knock: any) => void, refuse: (knock: any) => void}} actions
   */
  constructor(actions) {
    this.#actions = actions;
    this.#lock = /** @type {HTMLInputElement} */ (el('input', {id: 'room-lock', type: 'checkbox',
      'aria-describedby': 'room-lock-hint', onchange: () => actions.lock(this.#lock.checked)}));
    this.#knocks = el('ul.knocks', {});
    this.#list = el('ul.people', {});
    this.#title = el('h3', {});
    this.element = el('aside.panel', {hidden: true, 'aria-label': t('room.people')},
      el('div.check', {}, this.#lock, el('label', {for: 'room-lock'}, t('room.lock')),
        el('p.hint', {id: 'room-lock-hint'}, t('room.lock.hint'))),
      this.#knocks, this.#title, this.#list);
  }

  #actions;
  #lock;
  #knocks;
  #list;
  #title;
  #drawn = '';

  /**
   * Draw anew what has changed; the focus stays where it was.
   * @param {any} room of the API @param {{member: any, name: string, figures: string, known: boolean}[]} people
   * @param {(knock: any) => string} nameOf
   */
  update(room, people, nameOf) {
    if (this.element.hidden) return;
    const drawn = JSON.stringify([room.locked, room.knocks, room.mine, people]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const focused = document.activeElement?.id;
    this.#lock.checked = room.locked;
    this.#title.textContent = t('room.count', {count: people.length});
    this.#knocks.replaceChildren(...room.knocks.map(knock => this.#knock(knock, nameOf(knock))));
    this.#list.replaceChildren(...people.map(one => this.#person(room, one)));
    if (focused && this.element.contains(document.getElementById(focused)))
      document.getElementById(focused).focus();
  }

  /** Draw as it is, whatever was pressed. */
  forget() { this.#drawn = ''; }

  #knock(knock, name) {
    return el('li', {}, el('p', {}, t('room.knock', {name})), el('div.buttons', {},
      el('button.primary', {id: `admit-${knock.peer_id}`, 'aria-label': t('room.admit.name', {name}),
        onclick: () => this.#actions.admit(knock)}, t('room.admit')),
      el('button', {id: `refuse-${knock.peer_id}`, 'aria-label': t('room.refuse.name', {name}),
        onclick: () => this.#actions.refuse(knock)}, t('room.refuse'))));
  }

  #person(room, {member, name, figures, known}) {
    const words = [
      member.me ? '' : t(member.verified ? 'verified' : 'unverified'),
      member.state !== 'here' && !member.me && t(`room.member.${member.state}`),
      !member.audio && t('peer.muted'), !member.video && t('peer.no-camera'), member.screen && t('peer.screen'),
      member.hand && t('room.hand'), member.path && t(`path.${member.path}`),
    ].filter(Boolean);
    return el('li', {}, el('strong', {}, el('bdi', {}, name)), el('p.hint', {}, words.join(', ')),
      figures && el('p.hint', {dir: 'ltr'}, figures),
      !member.me && !known && el('p.mono.hint', {dir: 'ltr'}, member.peer_id.match(/.{7}/g).join('-')),
      !member.me && el('div.buttons', {},
        room.mine && el('button.danger', {id: `remove-${member.peer_id}`, 'aria-label': t('room.remove.name', {name}),
          onclick: () => this.#actions.remove(member)}, t('room.remove')),
        el('button', {id: `block-${member.peer_id}`, 'aria-label': t('room.block.name', {name}),
          onclick: () => this.#actions.block(member)}, icon('close'), t('room.block'))));
  }
}
