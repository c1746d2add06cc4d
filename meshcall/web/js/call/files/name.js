// The name of a file as it may be shown and saved. Pure.
//
// Law 1: no part of a path comes through, and nothing that moves, hides or turns round other text.
// Law 2: what comes out is a name that Linux, macOS and Windows take; cleaning it again changes nothing.

import {ENDING_MAX, NAME_MAX} from './limits.js';

const RESERVED = /^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?=$| *\.)/i;
const UNNAMED = 'file';

const encoder = new TextEncoder();
const octets = text => encoder.encode(text).length;

/** The longest beginning of `text` that has at most `most` octets of UTF-8. */
function cut(text, most) {
  let kept = '', size = 0;
  for (const letter of text) {
    size += octets(letter);
    if (size > most) break;
    kept += letter;
  }
  return kept;
}

/** Without what Windows drops at the end, and what hides a file or is an option at the beginning. */
function trim(text) {
  return text.replace(/^[\s.-]+/u, '').replace(/[\s.]+$/u, '');
}

function shorten(name) {
  if (octets(name) <= NAME_MAX) return name;
  const dot = name.lastIndexOf('.');
  const ending = dot > 0 ? name.slice(dot) : '';
  if (!ending || octets(ending) > ENDING_MAX) return trim(cut(name, NAME_MAX));
  return trim(cut(name.slice(0, dot), NAME_MAX - octets(ending))) + ending;
}

/** A name that is safe to show and to save. @param {string} text whatever a peer or a file says @returns {string} */
export function cleanName(text) {
  const last = text.normalize('NFC').split(/[/\\]/).pop();
  const seen = last
    .replace(/[\p{Zs}\t]+/gu, ' ')
    // control, bidi and other unseen characters, half surrogates, private use
    .replace(/[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu, '')
    .replace(/[<>:"|?*]/g, '_')
    .replace(/ {2,}/g, ' ')  // they had an unseen character between them
    .normalize('NFC');
  const name = trim(seen) || UNNAMED;
  return shorten(RESERVED.test(name) ? `_${name}` : name);
}
