// Elements from values. Law: text is always text; nothing here, or in any module, makes HTML of a string.

/**
 * An element.
 * @param {string} tag name, with classes after dots: "button.primary"
 * @param {Record<string, any>} [attributes] attributes; on… are listeners; a value of null or false is left out
 * @param {...any} children elements or text; null and false are left out
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split('.');
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(' ');
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'value' || key === 'srcObject' || key === 'muted' || key === 'checked') element[key] = value;
    else element.setAttribute(key, value === true ? '' : String(value));
  }
  element.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';
const PATHS = {
  mic: 'M12 3a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM5 11a7 7 0 0 0 14 0M12 18v3',
  camera: 'M3 7h12v10H3zM15 11l6-4v10l-6-4',
  screen: 'M3 4h18v12H3zM8 20h8M12 16v4',
  chat: 'M4 5h16v11H9l-5 4z',
  hangup: 'M3 14c5-5 13-5 18 0l-3 3-3-2v-3c-2-1-4-1-6 0v3l-3 2z',
  phone: 'M6 3h4l1 5-3 2c1 3 3 5 6 6l2-3 5 1v4c0 2-2 3-4 3C9 20 4 12 3 6c0-2 1-3 3-3z',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  stats: 'M4 20V10M10 20V4M16 20v-8M21 20H3',
  shield: 'M12 3l8 3v6c0 5-4 8-8 9-4-1-8-4-8-9V6z',
  full: 'M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5',
  pip: 'M3 5h18v14H3zM12 12h7v5h-7z',
  people: 'M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM2 21a7 7 0 0 1 14 0M17 4a4 4 0 0 1 0 7M22 21a7 7 0 0 0-4-6',
  invite: 'M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM2 21a7 7 0 0 1 14 0M19 8v6M16 11h6',
  room: 'M4 20v-9l8-6 8 6v9zM9 20v-5h6v5',
  hand: 'M8 12V5a1.5 1.5 0 0 1 3 0v6V4a1.5 1.5 0 0 1 3 0v7V6a1.5 1.5 0 0 1 3 0v8c0 4-2 7-6 7-3 0-5-2-7-6l-1-3c1-1 2-1 3 1z',
  'mic-off': 'M12 3a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM5 11a7 7 0 0 0 14 0M12 18v3M3 3l18 18',
  'camera-off': 'M3 7h12v10H3zM15 11l6-4v10l-6-4M3 3l18 18',
  voice: 'M4 9v6h4l5 4V5L8 9zM16 9a4 4 0 0 1 0 6M19 6a8 8 0 0 1 0 12',
  clock: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5l4 2',
  inbox: 'M3 13l3-8h12l3 8v6H3zM3 13h5l2 3h4l2-3h5',
  wrench: 'M14 6a5 5 0 0 1 6-2l-3 3 2 2 3-3a5 5 0 0 1-7 6l-8 8-3-3 8-8a5 5 0 0 1 0-3z',
  gear: 'M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM12 2v4M12 18v4M2 12h4M18 12h4M5 5l3 3M16 16l3 3M19 5l-3 3M8 16l-3 3',
  plus: 'M12 5v14M5 12h14',
  send: 'M4 12l16-8-6 16-3-6z',
  close: 'M6 6l12 12M18 6L6 18',
  file: 'M6 3h8l5 5v13H6zM14 3v5h5',
  device: 'M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM4 21h16M8 17h8',
};

/** A picture beside a text; it says nothing by itself. @param {keyof typeof PATHS} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  svg.classList.add('icon');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}

/** Say something to who does not look. @param {string} text @param {boolean} [urgent] */
export function announce(text, urgent = false) {
  const region = document.getElementById(urgent ? 'urgent' : 'polite');
  region.textContent = '';
  window.setTimeout(() => { region.textContent = text; }, 50);  // the same text twice is said twice
}

/** Say something to everybody, for a while. @param {string} text @param {string} [hint] @param {number} [life] ms */
export function toast(text, hint = '', life = 6000) {
  announce(hint ? `${text}. ${hint}` : text, true);
  const shown = el('div.toast', {}, el('p', {}, text), hint && el('p.hint', {}, hint));
  document.body.append(shown);
  window.setTimeout(() => shown.remove(), life);
}

/**
 * A dialog that is open until it is closed; returns what it was closed with.
 * The document hears `dialogs` when one opens or closes: outside of the last one nothing can be clicked.
 * @param {string} title @param {(close: (value?: any) => void) => any[]} content
 */
export function dialog(title, content, {className = '', onclose = () => {}} = {}) {
  return new Promise(resolve => {
    let result;
    const heading = el('h2', {id: `dialog-${Math.random().toString(36).slice(2)}`}, title);
    const element = el(`dialog${className ? '.' + className : ''}`, {'aria-labelledby': heading.id});
    const close = value => { result = value; element.close(); };
    const before = document.activeElement?.id;
    element.append(heading, ...content(close));
    element.addEventListener('close', () => {
      element.remove();
      onclose();
      if (before && document.activeElement === document.body) document.getElementById(before)?.focus();  // drawn anew meanwhile
      resolve(result);
      document.dispatchEvent(new Event('dialogs'));
    });
    document.body.append(element);
    element.showModal();
    document.dispatchEvent(new Event('dialogs'));
  });
}
