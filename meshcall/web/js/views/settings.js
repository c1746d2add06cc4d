// Devices, language, login of this browser.

import * as api from '../api.js';
import * as devices from '../call/devices.js';
import {announce, el} from '../dom.js';
import {choose, current, languages, t} from '../i18n.js';
import {store} from '../store.js';

/** The view. @param {() => void} redraw */
export function settingsView(redraw) {
  return el('section', {'aria-labelledby': 'settings-title'},
    el('div.title', {}, el('h1', {id: 'settings-title'}, t('settings'))),
    el('h2', {}, t('settings.devices')), deviceForm(),
    el('h2', {}, t('settings.language')),
    el('label', {for: 'language'}, t('settings.language')),
    el('select', {id: 'language', onchange: async event => { await choose(event.target.value); redraw(); }},
      Object.entries(languages).map(([code, name]) =>
        el('option', {value: code, lang: code, selected: code === current()}, name))),
    el('h2', {}, t('settings.notifications')),
    el('button', {onclick: askForNotifications}, t('settings.notify')),
    el('h2', {}, t('settings.daemon')),
    el('dl.facts', {},
      el('dt', {}, t('settings.version')), el('dd', {}, store.status?.version ?? ''),
      el('dt', {}, t('settings.port')), el('dd', {}, String(store.status?.port ?? '')),
      el('dt', {}, t('settings.name')), el('dd', {}, store.status?.name || t('none'))),
    el('h2', {}, t('settings.session')),
    el('button.danger', {onclick: async () => { await api.logOut(); location.reload(); }}, t('settings.logout')));
}

async function askForNotifications() {
  const answer = await Notification.requestPermission();
  announce(t(answer === 'granted' ? 'settings.notify-on' : 'settings.notify-off'));
}

/** Choosing camera, microphone and loudspeaker, with a preview. */
export function deviceForm() {
  const preview = el('video.preview', {autoplay: true, playsinline: true, 'aria-label': t('preview')});
  preview.muted = true;
  const level = el('meter', {min: 0, max: 1, value: 0, 'aria-label': t('level')});
  const problem = el('p.problem', {role: 'alert'});
  const selects = [['audioinput', 'audio', 'device.microphone'], ['videoinput', 'video', 'device.camera'],
    ['audiooutput', 'output', 'device.speaker']].map(([kind, name, label]) => {
    const select = el('select', {id: `device-${name}`, onchange: event => {
      devices.choose(/** @type {any} */ (name), event.target.value);
      if (preview.srcObject) start();
    }});
    return {kind, name, label, select};
  });
  const fill = async () => {
    for (const {kind, name, select} of selects) {
      const found = await devices.list(/** @type {any} */ (kind));
      select.replaceChildren(el('option', {value: ''}, t('device.default')), ...found.map((device, index) =>
        el('option', {value: device.deviceId, selected: device.deviceId === devices.chosen(/** @type {any} */ (name))},
          device.label || t('device.number', {number: index + 1}))));
    }
  };
  let stop = () => {};
  const start = async () => {
    stop();
    const {stream, problems} = await devices.open({audio: true, video: true});
    problem.textContent = problems.length ? t(`problem.${problems.at(-1)}`) : '';
    preview.srcObject = stream;
    const unwatch = devices.watchLevel(stream, value => { level.value = value; });
    stop = () => { unwatch(); for (const track of stream.getTracks()) track.stop(); preview.srcObject = null; };
    await fill();
  };
  fill();
  navigator.mediaDevices?.addEventListener('devicechange', fill);
  const form = el('div.devices', {},
    el('div', {}, selects.map(({name, label, select}) =>
      el('div.field', {}, el('label', {for: `device-${name}`}, t(label)), select))),
    el('div', {}, preview, level,
      el('div.buttons', {}, el('button', {type: 'button', onclick: start}, t('preview.start')),
        el('button', {type: 'button', onclick: () => stop()}, t('preview.stop')))),
    problem);
  new MutationObserver((_, observer) => {
    if (!form.isConnected && preview.srcObject) { stop(); observer.disconnect(); }
  }).observe(document.body, {childList: true, subtree: true});
  return form;
}
