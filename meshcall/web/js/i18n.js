// Texts in the user's language, from JSON catalogues. A text that a catalogue lacks is shown in English.

const LANGUAGES = {en: 'English', de: 'Deutsch', ar: 'العربية'};
const RIGHT_TO_LEFT = new Set(['ar', 'he', 'fa', 'ur']);
let english = {};
let texts = {};
let language = 'en';

/** The languages there are, by code. */
export const languages = LANGUAGES;

/** The code of the language in use. */
export function current() { return language; }

/** Take the language that was chosen, or else the browser's. */
export async function load(wanted = window.localStorage.getItem('language')) {
  const asked = [wanted, ...navigator.languages].filter(Boolean).map(code => code.split('-')[0]);
  language = asked.find(code => code in LANGUAGES) ?? 'en';
  english = await catalogue('en');
  texts = language === 'en' ? english : await catalogue(language);
  document.documentElement.lang = language;
  document.documentElement.dir = RIGHT_TO_LEFT.has(language) ? 'rtl' : 'ltr';
}

/** Choose a language for this browser. @param {string} code */
export async function choose(code) {
  window.localStorage.setItem('language', code);
  await load(code);
}

async function catalogue(code) {
  const response = await fetch(`/lang/${code}.json`);
  return response.json();
}

/** The text of a key, with {names} filled in. @param {string} key @param {Record<string, any>} [values] */
export function t(key, values = {}) {
  let text = texts[key] ?? english[key] ?? key;
  if (typeof text === 'object') {
    const form = new Intl.PluralRules(language).select(Number(values.count));
    text = text[form] ?? text.other;
  }
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Whether there is a text for a key. @param {string} key */
export function has(key) { return key in texts || key in english; }

/** A moment as people here write it. @param {number} ms */
export function moment(ms) {
  const date = new Date(ms);
  const today = new Date().toDateString() === date.toDateString();
  const options = today ? {timeStyle: 'short'} : {dateStyle: 'medium', timeStyle: 'short'};
  return new Intl.DateTimeFormat(language, /** @type {any} */ (options)).format(date);
}

/** Minutes and seconds. @param {number} seconds */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = number => String(number).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  return `${hours ? hours + ':' : ''}${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

/** A number as people here write it. @param {number} value @param {number} [digits] */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(language, {maximumFractionDigits: digits}).format(value);
}

/** The size of a file as people here write it. @param {number} octets */
export function size(octets) {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte'];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, octets)) / 3));
  return new Intl.NumberFormat(language, {
    style: 'unit', unit: units[power], unitDisplay: power ? 'short' : 'long', maximumFractionDigits: 1,
  }).format(octets / 1000 ** power);
}
