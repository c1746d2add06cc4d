// The sound and the notification of an incoming call. Stops when told, and by itself after two minutes.

import {t} from './i18n.js';

const PERIOD = 2500;
const LONGEST = 120_000;

/** Rings for one call at a time. */
export class Ring {
  #timer = 0;
  #end = 0;
  #context = null;
  #notification = null;

  /** @param {string} name who calls */
  start(name) {
    if (this.#timer) return;
    this.#context ??= new AudioContext();
    this.#context.resume().catch(() => {});
    this.#tone();
    this.#timer = window.setInterval(() => this.#tone(), PERIOD);
    this.#end = window.setTimeout(() => this.stop(), LONGEST);
    if (document.hidden && 'Notification' in window && Notification.permission === 'granted') {
      this.#notification = new Notification(t('incoming', {name}), {tag: 'meshcall-call', icon: 'icon.svg'});
      this.#notification.addEventListener('click', () => window.focus());
    }
  }

  stop() {
    window.clearInterval(this.#timer);
    window.clearTimeout(this.#end);
    this.#timer = 0;
    this.#notification?.close();
    this.#notification = null;
  }

  #tone() {
    const now = this.#context.currentTime;
    for (const [start, pitch] of [[0, 660], [0.25, 880], [0.5, 660]]) {
      const tone = this.#context.createOscillator();
      const loud = this.#context.createGain();
      tone.frequency.value = pitch;
      loud.gain.setValueAtTime(0.0001, now + start);
      loud.gain.exponentialRampToValueAtTime(0.15, now + start + 0.03);
      loud.gain.exponentialRampToValueAtTime(0.0001, now + start + 0.22);
      tone.connect(loud).connect(this.#context.destination);
      tone.start(now + start);
      tone.stop(now + start + 0.25);
    }
  }
}
