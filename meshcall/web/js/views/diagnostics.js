// What works and what does not, with the fix beside it: the daemon's doctor and netcheck.

import * as api from '../api.js';
import {announce, el} from '../dom.js';
import {t} from '../i18n.js';
import {store} from '../store.js';

/** The view. */
export function diagnosticsView() {
  const findings = el('div', {'aria-live': 'polite'}, el('p.hint', {}, t('diagnostics.running')));
  const network = el('dl.facts', {});
  const run = async () => {
    findings.replaceChildren(el('p.hint', {}, t('diagnostics.running')));
    await Promise.all([doctor(findings), netcheck(network)]);
    announce(t('diagnostics.done'));
  };
  run();
  return el('section', {'aria-labelledby': 'diagnostics-title'},
    el('div.title', {}, el('h1', {id: 'diagnostics-title'}, t('diagnostics')),
      el('button', {onclick: run}, t('diagnostics.again'))),
    el('h2', {}, t('diagnostics.findings')), findings,
    el('h2', {}, t('diagnostics.network')), network,
    store.status?.warnings.length > 0 && el('h2', {}, t('diagnostics.warnings')),
    el('ul', {}, (store.status?.warnings ?? []).map(text => el('li', {}, text))));
}

async function doctor(place) {
  try {
    const {findings} = await api.get('doctor');
    place.replaceChildren(el('ul.findings', {}, findings.map(one =>
      el(`li.found-${one.status.toLowerCase()}`, {},
        el('span.verdict', {}, t(`verdict.${one.status.toLowerCase()}`)),
        el('div', {}, el('strong', {}, one.check.replaceAll('-', ' ')), el('p', {}, one.found),
          one.fix && el('p.fix', {}, one.fix))))));
  } catch (error) {
    place.replaceChildren(el('p.problem', {}, error.message));
  }
}

async function netcheck(place) {
  try {
    const facts = await api.get('netcheck');
    const rows = Object.entries(facts).filter(([key]) => key !== 'schema');
    place.replaceChildren(...rows.flatMap(([key, value]) => [
      el('dt', {}, key.replaceAll('_', ' ')), el('dd', {}, inWords(value)),
    ]));
  } catch (error) {
    place.replaceChildren(el('dd.problem', {}, error.message));
  }
}

function inWords(value) {
  if (value === null || value === '') return t('unknown');
  if (value === true || value === false) return t(value ? 'yes' : 'no');
  if (Array.isArray(value)) return value.length ? value.map(inWords).join('; ') : t('none');
  if (typeof value === 'object')
    return Object.entries(value).map(([key, one]) => `${key.replaceAll('_', ' ')}: ${inWords(one)}`).join(', ');
  return String(value);
}
