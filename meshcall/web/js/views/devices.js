// Choosing camera, microphone and loudspeaker: what there is, a preview, a level, and what to do when there is nothing.

import * as devices from '../call/devices.js';
import {announce, el} from '../dom.js';
import {has, t} from '../i18n.js';

const HEARD = 0.1;  // of the meter: somebody speaks

/** The form. What is chosen is kept by this browser. @param {string} [prefix] of IDs, where another form may be open */
export function deviceForm(prefix = '') {
  const preview = el('video.preview', {autoplay: true, playsinline: true, 'aria-label': t('preview')});
  preview.muted = true;
  const level = el('meter', {min: 0, max: 1, value: 0, 'aria-label': t('level')});
  const heard = el('p.hint.heard', {});
  const problem = el('p.problem', {role: 'alert'});
  const selects = [['audioinput', 'audio', 'device.microphone'], ['videoinput', 'video', 'device.camera'],
    ['audiooutput', 'output', 'device.speaker']].map(([kind, name, label]) => {
    const select = el('select', {id: `${prefix}device-${name}`, onchange: event => {
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
  let round = 0;
  const start = async () => {
    stop();
    const mine = ++round;
    const {stream, problems} = await devices.open({audio: true, video: true});
    const end = () => { for (const track of stream.getTracks()) track.stop(); };
    if (mine !== round || !form.isConnected) return end();  // tested again, or left, while the browser asked
    problem.textContent = trouble(stream, problems);
    preview.srcObject = stream;
    heard.textContent = '';
    const unwatch = devices.watchLevel(stream, value => {
      level.value = value;
      if (value < HEARD || heard.textContent) return;
      heard.textContent = t('level.heard');
      announce(heard.textContent);
    });
    stop = () => { unwatch(); end(); preview.srcObject = null; level.value = 0; stop = () => {}; };
    await fill();
  };
  const leave = new AbortController();
  const changed = () => { fill(); if (problem.textContent) start(); };  // plugged in, or allowed now: try again
  fill();
  navigator.mediaDevices?.addEventListener('devicechange', changed, {signal: leave.signal});
  devices.watchPermissions(refused => {
    if (refused && !preview.srcObject) problem.textContent = t('problem.NotAllowedError');
    else if (!refused && problem.textContent) start();
  }, leave.signal);
  const form = el('div.devices', {},
    el('div', {}, selects.map(({name, label, select}) =>
      el('div.field', {}, el('label', {for: `${prefix}device-${name}`}, t(label)), select))),
    el('div', {}, preview, level, heard,
      el('p.hint', {}, t('preview.hint')),
      el('div.buttons', {}, el('button', {type: 'button', onclick: start}, t('preview.start')),
        el('button', {type: 'button', onclick: () => stop()}, t('preview.stop')))),
    problem);
  let shown = false;
  new MutationObserver((_, observer) => {
    shown ||= form.isConnected;
    if (!shown || form.isConnected) return;
    observer.disconnect();
    leave.abort();
    round++;
    stop();
  }).observe(document.body, {childList: true, subtree: true});
  return form;
}

/** What keeps a device from being used, and what to do; empty: nothing. */
function trouble(stream, problems) {
  if (!problems.length) return '';
  if (stream.getAudioTracks().length) return t('problem.no-camera');
  if (stream.getVideoTracks().length) return t('problem.no-microphone');
  const key = `problem.${problems.at(-1)}`;
  return t(has(key) ? key : 'problem.other');
}
