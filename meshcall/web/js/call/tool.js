// What the bars of tools of a call and of a meeting have alike.

import {dialog, el, icon, toast} from '../dom.js';
import {has, t} from '../i18n.js';

/** A button of a bar. @param {string} key of its texts @param {any} picture @param {() => void} action @param {boolean} [pressed] */
export const tool = (key, picture, action, pressed) => el('button.tool', {
  id: `tool-${key}`, 'aria-pressed': pressed === undefined ? null : String(pressed), title: t(`tool.${key}`),
  'aria-label': t(`tool.${key}`), onclick: action}, icon(picture), el('span', {}, t(`tool.${key}.short`)));

/** Say what is wrong with camera, microphone or screen. @param {string} name of a DOMException, or of ours */
export const sayProblem = name => toast(t(has(`problem.${name}`) ? `problem.${name}` : 'problem.other'), '', 12_000);

/** Ask which devices to use, and go on with them. @param {import('./studio.js').Studio} studio */
export async function chooseDevices(studio) {
  const {deviceForm} = await import('../views/devices.js');
  await dialog(t('tool.device'), close => [deviceForm('call-'), el('div.buttons', {},
    el('button.primary', {onclick: async () => {
      close();
      for (const kind of /** @type {const} */ (['audio', 'video']))
        if (studio.wanted[kind])
          await studio.changeDevice(kind).catch(error => sayProblem(error.name));
    }}, t('device.use')))]);
}

/** Whether a key is one of ours now: nobody writes, and no dialog is open. @param {KeyboardEvent} event */
export const isShortcut = event =>
  !/^(INPUT|TEXTAREA|SELECT)$/.test(/** @type {HTMLElement} */ (event.target).tagName)
  && !document.querySelector('dialog[open]') && !event.ctrlKey && !event.metaKey && !event.altKey;

/** Keep the display on; returns what to release, or null. @returns {Promise<WakeLockSentinel|null>} */
export const keepAwake = () => navigator.wakeLock?.request('screen').catch(() => null) ?? Promise.resolve(null);

/** Fill the display with an element, or no more. @param {HTMLElement} element */
export function toggleFull(element) {
  if (document.fullscreenElement) document.exitFullscreen();
  else element.requestFullscreen?.();
}
