// The panel of who is in a meeting: what is known of each, what can be done, who knocks, who is blocked, and the lock.

import {el, icon} from '../dom.js';
import {t} from '../i18n.js';

/** A panel; it is hidden until somebody opens it. */
export class PeoplePanel {
  /**
   * @param {{lock: (on: boolean) => void, remove: (member: any) => void, block: (member: any) => void,
   *   unblock: (blocked: any) => void, admit: (knock: any) => void, refuse: (knock: any) => void}} actions
   */
  constructor(actions) {
    this.#actions = actions;
    this.#lock = /** @type {HTMLInputElement} */ (el('input', {id: 'room-lock', type: 'checkbox',
      'aria-describedby': 'room-lock-hint', onchange: () => actions.lock(this.#lock.checked)}));
    this.#knocks = el('ul.knocks', {});
    this.#list = el('ul.people', {});
    this.#title = el('h3', {});
    this.#blocked = el('ul.people', {'aria-labelledby': 'room-blocked'});
    this.#blockedTitle = el('h3', {id: 'room-blocked'}, t('room.blocked'));
    this.element = el('aside.panel', {hidden: true, 'aria-label': t('room.people')},
      el('div.check', {}, this.#lock, el('label', {for: 'room-lock'}, t('room.lock')),
        el('p.hint', {id: 'room-lock-hint'}, t('room.lock.hint'))),
      this.#knocks, this.#title, this.#list, this.#blockedTitle, this.#blocked);
    this.element.addEventListener('pointerdown', () => this.#hold());
  }

  #actions;
  #lock;
  #knocks;
  #list;
  #title;
  #blocked;
  #blockedTitle;
  #drawn = '';
  #pressed = false;

  /** What is pressed has to be there until it is let go, or it is no click. */
  #hold() {
    this.#pressed = true;
    const free = () => window.setTimeout(() => { this.#pressed = false; });  // after the click that follows
    for (const name of ['pointerup', 'pointercancel', 'blur']) window.addEventListener(name, free, {once: true});
  }

  /**
   * Draw anew what has changed; the focus stays where it was, or goes to what undoes what was pressed.
   * @param {any} room of the API @param {{member: any, name: string, figures: string, known: boolean}[]} people
   * @param {{one: any, name: string, contact: boolean}[]} blocked `contact`: it is blocked as a contact, too
   * @param {(knock: any) => string} nameOf
   */
  update(room, people, blocked, nameOf) {
    if (this.element.hidden || this.#pressed) return;
    const drawn = JSON.stringify([room.locked, room.knocks, room.mine, people, blocked]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const focused = this.element.contains(document.activeElement) ? document.activeElement.id : '';
    this.#lock.checked = room.locked;
    this.#title.textContent = t('room.count', {count: people.length});
    this.#knocks.replaceChildren(...room.knocks.map(knock => this.#knock(knock, nameOf(knock))));
    this.#list.replaceChildren(...people.map(one => this.#person(room, one)));
    this.#blockedTitle.hidden = this.#blocked.hidden = !blocked.length;
    this.#blocked.replaceChildren(...blocked.map(one => this.#blockedOne(one)));
    if (!focused) return;
    const [, verb, peer] = /^(block|unblock)-(.+)$/.exec(focused) ?? [];
    const undo = verb ? `${verb === 'block' ? 'unblock' : 'block'}-${peer}` : '';
    (document.getElementById(focused) ?? document.getElementById(undo) ?? this.#lock).focus();
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

  #blockedOne({one, name, contact}) {
    return el('li', {}, el('strong', {}, el('bdi', {}, name)),
      el('p.mono.hint', {dir: 'ltr'}, one.peer_id.match(/.{7}/g).join('-')),
      contact ? el('p.hint', {}, t('room.blocked.contact'))
        : el('div.buttons', {}, el('button', {id: `unblock-${one.peer_id}`, 'aria-label': t('room.unblock.name', {name}),
          onclick: () => this.#actions.unblock(one)}, t('room.unblock'))));
  }
}
